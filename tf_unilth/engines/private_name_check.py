"""Looks for the names of `private_names.py` in the installed versions."""

import functools
import importlib
import importlib.metadata
import inspect
import types
from collections.abc import Iterator
from typing import Any

from tf_unilth.engines.private_names import ROWS, TESTED, Row

_DISTRIBUTIONS = {'tf_keras': 'tf-keras', 'keras_tuner': 'keras-tuner'}


class MovedNameError(ImportError):
  """An installed TensorFlow, Keras or tfmot lacks names that are used."""


def check(*rooms: str, of: tuple[str, ...]) -> None:
  """Looks for the private names that rooms use.

  Args:
    *rooms: folders of `tf_unilth`.
    of: the packages to look in, which are imported.

  Raises:
    MovedNameError: names are missing; the message has them, the installed
      version and those that were tested.
  """
  for package in of:
    missing = [
      f'{row.where}{"." if ":" in row.where else ":"}{name}'
      for row in ROWS
      if row.room in rooms and package_of(row) == package
      for name in missing_names(row)
    ]
    if missing:
      raise MovedNameError(
        f'{package} {_version(package)} lacks {", ".join(missing)}, which '
        f'tf_unilth uses; tf_unilth was tested with {package} '
        f'{TESTED[package]}: install one of these versions.'
      )


def package_of(row: Row) -> str:
  """Returns the package that has the names of a row."""
  return row.where.partition('.')[0].partition(':')[0]


def missing_names(row: Row) -> list[str]:
  """Returns the names of a row that the installed version lacks."""
  module, _, attributes = row.where.partition(':')
  try:
    place = importlib.import_module(module)
    for attribute in filter(None, attributes.split('.')):
      place = getattr(place, attribute)
  except (ImportError, AttributeError):
    return [*row.names]
  return [name for name in row.names if not defines(place, name)]


def defines(place: Any, name: str) -> bool:
  """Returns whether a module or class has a name, or its code uses it.

  Args:
    place: a module, a class or a namespace.
    name: of an attribute of it or of its instances; one that ends in `_` is
      the beginning of names.
  """
  if name.endswith('_'):
    return any(used.startswith(name) for used in _names(place))
  if hasattr(place, name) or name in _names(place):
    return True
  # A name of a module that is not imported yet.
  is_package = isinstance(place, types.ModuleType) and hasattr(
    place, '__path__'
  )
  return is_package and _is_module(f'{place.__name__}.{name}')


def _is_module(name: str) -> bool:
  try:
    importlib.import_module(name)
  except ImportError:
    return False
  return True


@functools.cache
def _names(place: Any) -> frozenset[str]:
  """Returns the names of a place and all that its code uses."""
  names: set[str] = set()
  for owner in inspect.getmro(place) if inspect.isclass(place) else (place,):
    for name, value in list(vars(owner).items()):
      names.add(name)
      names |= set(_words(value))
  return frozenset(names)


def _words(value: Any) -> Iterator[str]:
  """Yields what a value of a class or module names."""
  if isinstance(value, str):
    yield value
  elif isinstance(value, property):
    for function in (value.fget, value.fset):
      yield from _words(function)
  elif isinstance(value, staticmethod | classmethod):
    yield from _words(value.__func__)
  else:
    code = getattr(_unwrapped(value), '__code__', None)
    if isinstance(code, types.CodeType):
      yield from _code_names(code)


def _unwrapped(value: Any) -> Any:
  try:
    return inspect.unwrap(value)
  except (ValueError, AttributeError):
    return value


def _code_names(code: types.CodeType) -> Iterator[str]:
  yield from code.co_names
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _code_names(constant)
    elif isinstance(constant, str):  # An argument of `hasattr`.
      yield constant


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(_DISTRIBUTIONS.get(package, package))
  except importlib.metadata.PackageNotFoundError:
    return '(of unknown version)'
