"""Checks of paths that are read or written."""

import os
import pathlib
from typing import Any

from tf_unilth.argument_checks import argument_error, check_bool, format_value


def check_path(name: str, value: Any) -> pathlib.Path:
  """Returns a path.

  >>> check_path('directory', '')
  Traceback (most recent call last):
  ValueError: directory must be a path that is not empty, but is ''.
  """
  if not isinstance(value, str | os.PathLike):
    raise TypeError(f'{name} must be a path, but is {format_value(value)}.')
  place = os.fspath(value)
  if not isinstance(place, str) or not place or '\0' in place:
    raise argument_error(name, 'a path that is not empty', value)
  return pathlib.Path(place)


def check_folder(name: str, value: Any) -> pathlib.Path:
  """Returns the path of a folder, which need not be there yet.

  Raises:
    OSError: there can be none, since a file is in its way.
  """
  place = check_path(name, value)
  _check_way(name, place, [place, *place.parents])
  return place


def check_new_file(name: str, value: Any, overwrite: Any) -> pathlib.Path:
  """Returns the path of what is to be written, whose folder need not be there.

  Raises:
    FileExistsError: it is there, and `overwrite` is not set.
    OSError: its folder cannot be made, since a file is in the way.
  """
  place = check_path(name, value)
  if not check_bool('overwrite', overwrite) and os.path.lexists(place):
    raise FileExistsError(
      f'{name} {str(place)!r} exists: choose another, or overwrite=True.'
    )
  _check_way(name, place, list(place.parents))
  return place


def _check_way(
  name: str, place: pathlib.Path, folders: list[pathlib.Path]
) -> None:
  known = next((f for f in folders if os.path.lexists(f)), None)
  if known is not None and not known.is_dir():
    raise NotADirectoryError(
      f'{name} {str(place)!r} cannot be written: {str(known)!r} is no folder.'
    )
