"""Reads .npz files with x_train, y_train, x_test and y_test."""

import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from recipes.data.arrays import Arrays, DataError, reason

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
  # NumPy takes a file that is no archive for a pickle: a ValueError.
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
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
    array = archive[name]
  # The first two are raised for Python objects and forged headers, the last
  # for encrypted archives.
  except (ValueError, MemoryError, RuntimeError) as error:
    raise DataError(
      f"'{path}': {name} cannot be read: {reason(error)}"
    ) from error
  if not isinstance(array, np.ndarray):
    raise DataError(f"'{path}': {name} is no array.")
  return array
