"""Reads .npz files with x_train, y_train, x_test and y_test."""

import math
import pathlib
import zipfile
from typing import Any

import numpy as np

from recipes.data.arrays import Arrays, DataError, check_unpacked, reason

_NAMES = ('x_train', 'y_train', 'x_test', 'y_test')


def read(path: pathlib.Path) -> Arrays:
  """Returns the four arrays; nothing in the file is executed.

  Args:
    path: of the file.

  Raises:
    DataError: the file is damaged, or does not hold them.
  """
  try:
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
      raise DataError(f"'{path}' is damaged or no .npz file: it is one array.")
    with archive:
      return Arrays(*(_member(archive, name, path) for name in _NAMES))
  except OSError as error:
    raise DataError(f"'{path}': {error.strerror or error}.") from error
  except DataError:
    raise
  # For damaged files NumPy, zipfile and zlib raise errors of many classes, such
  # as tokenize.TokenError.
  except Exception as error:
    raise DataError(
      f"'{path}' is damaged or no .npz file: {reason(error)}"
    ) from error


def _member(archive: Any, name: str, path: pathlib.Path) -> np.ndarray:
  if name not in archive.files:
    raise DataError(
      f"'{path}' must hold {', '.join(_NAMES)}, but {name} is not there, only "
      f'{", ".join(sorted(archive.files)) or "nothing"}.'
    )
  try:
    _check_size(archive, name, path)
    array = archive[name]
  except DataError:
    raise
  # Among them are those for Python objects, forged headers and encryption.
  except Exception as error:
    raise DataError(
      f"'{path}': {name} cannot be read: {reason(error)}"
    ) from error
  if not isinstance(array, np.ndarray):
    raise DataError(f"'{path}': {name} is no array.")
  return array


def _check_size(archive: Any, name: str, path: pathlib.Path) -> None:
  """Compares the shape of an array with the size of the file.

  NumPy allocates what the header of an array says before it reads the values.
  """
  has_ending = name not in archive.zip.namelist()
  member = archive.zip.getinfo(f'{name}.npy' if has_ending else name)
  if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise DataError(f"'{path}': {name} is compressed as NumPy does not do it.")
  stored = path.stat().st_size
  check_unpacked(name, member.file_size, path, stored)
  with archive.zip.open(member) as file:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
      shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:  # Names of fields, which images do not have, need later versions.
      shape, _, dtype = np.lib.format.read_array_header_2_0(file)
  if math.prod(shape) * dtype.itemsize > member.file_size:
    raise DataError(
      f"'{path}': {name} cannot be read: it is too short for shape "
      f'{list(shape)} of {dtype}.'
    )
