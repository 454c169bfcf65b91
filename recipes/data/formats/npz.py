"""Reads .npz files with x_train, y_train, x_test and y_test."""

import math
import pathlib
import zipfile
import zlib

import numpy as np

from recipes.data.arrays import Arrays, DataError

_NAMES = ('x_train', 'y_train', 'x_test', 'y_test')
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path: pathlib.Path) -> Arrays:
  """Returns the four arrays; nothing in the file is executed.

  Raises:
    DataError: the file is damaged, or does not hold them.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      return Arrays(*(_member(archive, name, path) for name in _NAMES))
  except OSError as error:
    raise DataError(f"'{path}': {error.strerror or error}.") from error
  except (zipfile.BadZipFile, zlib.error, EOFError) as error:
    raise DataError(f"'{path}' is damaged or no .npz file: {error}.") from error


def _member(
  archive: zipfile.ZipFile, name: str, path: pathlib.Path
) -> np.ndarray:
  try:
    member = archive.open(f'{name}.npy')
  except KeyError:
    held = ', '.join(sorted(n.removesuffix('.npy') for n in archive.namelist()))
    raise DataError(
      f"'{path}' must hold {', '.join(_NAMES)}, but {name} is not there, only "
      f'{held or "nothing"}.'
    ) from None
  except (RuntimeError, NotImplementedError) as error:
    raise DataError(f"'{path}': {name} cannot be unpacked: {error}") from error
  with member:
    try:
      version = np.lib.format.read_magic(member)
      shape, column_major, dtype = _HEADERS[version](member)
    except (ValueError, KeyError) as error:
      raise DataError(f"'{path}': {name} is no array.") from error
    # What is there is read, and then compared with what the header says, so
    # that a forged header allocates nothing.
    content = member.read()
  if dtype.hasobject:
    raise DataError(f"'{path}': {name} holds Python objects, not numbers.")
  if math.prod(shape) * dtype.itemsize != len(content):
    raise DataError(
      f"'{path}': {name} has {len(content)} bytes, too few or too many for "
      f'{dtype} of shape {list(shape)}.'
    )
  values = np.frombuffer(content, dtype)
  return values.reshape(shape, order='F' if column_major else 'C')
