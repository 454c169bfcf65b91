"""Versions of the packages that a result depends on."""

import importlib.metadata
import platform

_PACKAGES = ('tensorflow', 'tf-keras', 'tensorflow-model-optimization', 'numpy')


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages."""
  found = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {'python': platform.python_version(), **found}
