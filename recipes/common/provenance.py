"""What a result depends on: versions, machine and commit."""

import importlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

from recipes.common.wording import count

_PACKAGES = ('tensorflow', 'tf-keras', 'tensorflow-model-optimization', 'numpy')
_HERE = pathlib.Path(__file__).parent


def versions(keras: str = 'tf_keras') -> dict[str, str]:
  """Returns the versions of Python and of the packages.

  Args:
    keras: `'tf_keras'`, or `'keras'` for Keras 3, whose backend is named first.
  """
  packages: tuple[str, ...] = _PACKAGES
  found: dict[str, str] = {}
  if keras == 'keras':
    backend = importlib.import_module('keras').backend.backend()
    packages, found = ('keras', backend, 'numpy'), {'backend': backend}
  found |= {name: importlib.metadata.version(name) for name in packages}
  try:
    found['tf_unilth'] = importlib.metadata.version('tf_unilth')
  except importlib.metadata.PackageNotFoundError:
    found['tf_unilth'] = 'not installed'  # A checkout on the path.
  return {'python': platform.python_version(), **found}


def version_words(found: Mapping[str, str]) -> str:
  """Returns versions as the `versions` of a CSV row.

  >>> version_words({'tensorflow': '2.21.0', 'numpy': '2.4.6'})
  'tensorflow=2.21.0 numpy=2.4.6'
  """
  return ' '.join(f'{name}={version}' for name, version in found.items())


def machine() -> str:
  """Returns the kind of this machine, as in 'Linux x86_64, 2 cores'."""
  cores = count(os.cpu_count() or 1, 'core')
  return f'{platform.system()} {platform.machine()}, {cores}'


def commit() -> str | None:
  """Returns the commit of this checkout; `None` where git does not know it.

  It ends in `-dirty` where tracked files differ from the commit.
  """
  command = ['git', 'describe', '--always', '--dirty', '--exclude=*']
  try:
    found = subprocess.run(
      command, cwd=_HERE, capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return found.stdout.strip()


def record(keras: str = 'tf_keras') -> dict[str, Any]:
  """Returns versions, machine and commit, for the head of a JSON file.

  Args:
    keras: as of `versions`.
  """
  found = versions(keras)
  return {'versions': found, 'machine': machine(), 'commit': commit()}
