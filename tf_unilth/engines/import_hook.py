"""Registers our classes with a Keras when a program imports it.

A file of a wrapped model names our classes, so Keras must know them before it
loads one. `import tf_unilth` does not import a Keras for that: it registers the
classes with each Keras that is imported, and installs a finder that does so for
a Keras that is imported later.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any

from tf_unilth.user_warning import warn_user

# The module that registers our classes with a Keras, and what must be complete
# then. TensorFlow and tfmot import tf_keras while they are half imported.
_REGISTRATIONS = {
  'keras': 'tf_unilth.engines.keras_3_classes',
  'tf_keras': 'tf_unilth.engines.tfmot.saved_classes',
}
_MUST_BE_COMPLETE = {
  'keras': {'keras'},
  'tf_keras': {'tensorflow', 'tensorflow_model_optimization', 'tf_keras'},
}
_WATCHED: set[str] = set().union(*_MUST_BE_COMPLETE.values())


def install() -> None:
  """Registers our classes with each Keras, at once or when it is imported."""
  finder = _Finder()
  finder.register()
  if finder.waiting:
    sys.meta_path.insert(0, finder)


class _Finder(importlib.abc.MetaPathFinder):
  """Lets the other finders find a module, and adds what follows its import."""

  def __init__(self):
    self.waiting = dict(_REGISTRATIONS)
    self._executing: set[str] = set()

  def find_spec(
    self,
    fullname: str,
    path: Sequence[str] | None,
    target: types.ModuleType | None = None,
  ) -> importlib.machinery.ModuleSpec | None:
    """Returns the spec of a watched module; `None` for other modules."""
    if fullname not in _WATCHED:
      return None
    for finder in sys.meta_path:
      if finder is not self and hasattr(finder, 'find_spec'):
        spec = finder.find_spec(fullname, path, target)
        if spec is not None:
          if hasattr(spec.loader, 'exec_module'):
            spec.loader = _Loader(spec.loader, self)
          return spec
    return None

  def execute(self, loader: Any, module: types.ModuleType) -> None:
    """Executes a watched module, and registers our classes if it is time."""
    self._executing.add(module.__name__)
    try:
      loader.exec_module(module)
    finally:
      self._executing.discard(module.__name__)
    self.register()

  def register(self) -> None:
    """Registers our classes with the Kerases that are completely imported."""
    for keras, registration in list(self.waiting.items()):
      is_complete = not self._executing & _MUST_BE_COMPLETE[keras]
      if keras in sys.modules and is_complete:
        # Removed first, because the registration imports watched modules.
        del self.waiting[keras]
        try:
          importlib.import_module(registration)
        except ImportError as error:
          # A program that imports a Keras may not even know tf_unilth.
          warn_user(
            f'tf_unilth cannot prune models of {keras}, nor load their files: '
            f'{error}',
          )
    if not self.waiting and self in sys.meta_path:
      sys.meta_path.remove(self)


class _Loader(importlib.abc.Loader):
  """A loader that tells the finder when it executes its module.

  Args:
    loader: the loader that the real finder returned.
    finder: the finder to tell.
  """

  def __init__(self, loader: Any, finder: _Finder):
    self._loader = loader
    self._finder = finder

  def create_module(
    self, spec: importlib.machinery.ModuleSpec
  ) -> types.ModuleType | None:
    """Returns the module that the real loader creates."""
    return self._loader.create_module(spec)

  def exec_module(self, module: types.ModuleType) -> None:
    """Executes the module as the real loader does."""
    # So that the module, and a reload of it, see the real loader.
    module.__loader__ = self._loader
    if module.__spec__ is not None:
      module.__spec__.loader = self._loader
    self._finder.execute(self._loader, module)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._loader, name)
