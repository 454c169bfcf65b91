"""Reads MNIST's own files, called idx, plain or compressed with gzip.

An idx file is: two bytes 0, one of the type (8 is uint8), one of the number of
axes, the length of each axis as four bytes, and the elements.
"""

import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from recipes.data.arrays import Arrays, DataError, check_unpacked

_STEMS = (
  ('train-images', 'idx3-ubyte'),
  ('train-labels', 'idx1-ubyte'),
  ('t10k-images', 'idx3-ubyte'),
  ('t10k-labels', 'idx1-ubyte'),
)
_UINT8 = 8
_MOST_AXES = 8
# A compressed byte is at most this many bytes.
_MOST_DEFLATED = 1032


def find(folder: pathlib.Path) -> list[pathlib.Path] | None:
  """Returns the four files, `None` if none of them exists.

  Raises:
    DataError: only some of them exist.
  """
  found = [_one(folder, stem, kind) for stem, kind in _STEMS]
  if not any(found):
    return None
  for path, (stem, kind) in zip(found, _STEMS):
    if path is None:
      raise DataError(f"'{folder / f'{stem}-{kind}'}' (or .gz) is missing.")
  return [path for path in found if path is not None]


def _one(folder: pathlib.Path, stem: str, kind: str) -> pathlib.Path | None:
  for name in (f'{stem}-{kind}', f'{stem}.{kind}'):
    for path in (folder / name, folder / f'{name}.gz'):
      if path.is_file():
        return path
  return None


def read(paths: list[pathlib.Path]) -> Arrays:
  """Returns the arrays of the four files, in the order of `find`.

  Raises:
    DataError: one of them is damaged.
  """
  x_train, y_train, x_test, y_test = map(read_one, paths)
  return Arrays(x_train, y_train, x_test, y_test)


def read_one(path: pathlib.Path) -> np.ndarray:
  """Returns the array of one idx file.

  Raises:
    DataError: it is damaged.
  """
  packed = path.suffix == '.gz'
  try:
    size = path.stat().st_size
    with gzip.open(path) if packed else path.open('rb') as file:
      shape = _shape(file.read(4), file, path)
      count = math.prod(shape)
      # Before memory of that size is allocated.
      if count > size * (_MOST_DEFLATED if packed else 1):
        raise DataError(f"'{path}' is too short for shape {list(shape)}.")
      check_unpacked(f'shape {list(shape)}', count, path, size)
      content = file.read(count + 1)
  except (OSError, EOFError, zlib.error) as error:
    raise DataError(f"'{path}' cannot be read: {error}.") from error
  if len(content) != count:
    what = 'longer' if len(content) > count else 'shorter'
    raise DataError(f"'{path}' is {what} than its shape {list(shape)} says.")
  return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(magic: bytes, file: object, path: pathlib.Path) -> tuple[int, ...]:
  if len(magic) < 4 or magic[:3] != bytes([0, 0, _UINT8]) or magic[3] == 0:
    raise DataError(f"'{path}' is no idx file of unsigned bytes.")
  lengths = file.read(4 * magic[3])  # type: ignore[attr-defined]
  if len(lengths) < 4 * magic[3]:
    raise DataError(f"'{path}' ends within its header.")
  shape = struct.unpack(f'>{magic[3]}I', lengths)
  # Images have three axes. NumPy also refuses an empty array whose other axes
  # are too long.
  if len(shape) > _MOST_AXES or not all(shape):
    raise DataError(f"'{path}' has the invalid shape {list(shape[:9])}.")
  return shape
