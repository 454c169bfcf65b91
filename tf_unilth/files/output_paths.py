"""Checks of path arguments, and errors that name them."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from tf_unilth.argument_checks import argument_error, check_bool, format_value


def check_path(name: str, value: Any) -> pathlib.Path:
  """Returns a non-empty path.

  Args:
    name: the name of the argument.
    value: the value that was passed.

  Raises:
    TypeError: the value is not a `str` or `os.PathLike`.
    ValueError: the path is empty, is not text or contains a null character.

  >>> check_path('directory', '')
  Traceback (most recent call last):
  ValueError: directory must be a path that is not empty, but is ''.
  """
  if not isinstance(value, str | os.PathLike):
    raise TypeError(f'{name} must be a path, but is {format_value(value)}.')
  path = os.fspath(value)
  if not isinstance(path, str) or not path or '\0' in path:
    raise argument_error(name, 'a path that is not empty', value)
  return pathlib.Path(path)


def check_folder(name: str, value: Any) -> pathlib.Path:
  """Returns the path of a folder, which need not exist.

  Args:
    name: the name of the argument.
    value: the value that was passed.

  Raises:
    TypeError, ValueError: the value is not a path, as in `check_path`.
    NotADirectoryError: the path or one of its parents is a file.
  """
  path = check_path(name, value)
  _check_folders(name, path, [path, *path.parents])
  return path


def check_new_file(name: str, value: Any, overwrite: Any) -> pathlib.Path:
  """Returns the path of a new output, whose folder need not exist.

  Args:
    name: the name of the argument.
    value: the value that was passed.
    overwrite: whether the path may exist; a bool.

  Raises:
    TypeError, ValueError: the value is not a path, as in `check_path`.
    FileExistsError: the path exists and `overwrite` is `False`.
    NotADirectoryError: a parent of the path is a file.
  """
  path = check_path(name, value)
  if not check_bool('overwrite', overwrite) and os.path.lexists(path):
    raise FileExistsError(
      f'{name} {str(path)!r} exists: choose another path or pass '
      'overwrite=True.'
    )
  _check_folders(name, path, list(path.parents))
  return path


@contextlib.contextmanager
def write_errors(name: str, path: pathlib.Path) -> Iterator[None]:
  """Lets errors of a block that writes name the argument and its path.

  Args:
    name: the name of the argument.
    path: its value.

  Raises:
    OSError: the block raised one.

  >>> with write_errors('path', pathlib.Path('exports/model')):
  ...   raise OSError(28, 'No space left on device')
  Traceback (most recent call last):
  OSError: [Errno 28] path 'exports/model' cannot be written: No space left \
on device
  """
  try:
    yield
  except OSError as error:
    raise OSError(
      error.errno,
      f'{name} {str(path)!r} cannot be written: {error.strerror or error}',
    ) from error


def _check_folders(
  name: str, path: pathlib.Path, folders: list[pathlib.Path]
) -> None:
  """Raises an error unless the first of `folders` that exists is a folder."""
  existing = next((f for f in folders if os.path.lexists(f)), None)
  if existing is not None and not existing.is_dir():
    raise NotADirectoryError(
      f'{name} {str(path)!r} cannot be written: {str(existing)!r} is not a '
      'folder.'
    )
