"""ArrayDigest: a digest of arrays, and of rows of large ones."""

import hashlib
import math
import os
from typing import Any

import numpy as np

_MAX_ARRAY_BYTES = 1 << 24  # Read of an array, in evenly spaced rows.


class ArrayDigest:
  """A SHA-256 of arrays, and the shapes of arrays in memory.

  Attributes:
    elements: the number of elements of the data, `None` if it is unknown.

  >>> digest = ArrayDigest()
  >>> digest.add(np.zeros((2, 3), np.float32))
  >>> digest.result()['arrays']
  ['float32 (2, 3)']
  """

  def __init__(self) -> None:
    self._sha256 = hashlib.sha256()
    self._arrays: list[str] = []
    self.elements: int | None = None
    self._has_data = False

  def result(self) -> dict[str, Any] | None:
    """Returns `arrays`, `elements` and `digest`, `None` if nothing was read."""
    if not self._has_data:
      return None
    return {
      'arrays': self._arrays,
      'elements': self.elements,
      'digest': self._sha256.hexdigest()[:16],
    }

  def add(self, array: Any) -> None:
    """Adds an array in memory.

    Args:
      array: an array or a tensor.
    """
    self._arrays.append(f'{self.dtype_of(array)[0]} {tuple(array.shape)}')
    self.add_rows(array)

  def add_rows(self, array: Any) -> int:
    """Adds evenly spaced rows of an array; returns the number of bytes read.

    Args:
      array: an array or a tensor.
    """
    (name, size), shape = self.dtype_of(array), tuple(array.shape)
    read = math.prod(map(int, shape)) * size
    stride = max(1, -(-read // _MAX_ARRAY_BYTES))
    rows = np.asarray(array[::stride] if shape else array)
    if rows.dtype.kind in 'OSU' and _has_paths(rows):
      return 0
    data = _bytes(rows)
    self._sha256.update(f'{name} {shape} '.encode() + data)
    self._has_data = True
    return len(data)

  def dtype_of(self, array: Any) -> tuple[str, int]:
    """Returns the name of a dtype, and the bytes of an element."""
    name = str(array.dtype).rpartition('.')[2]  # `torch.float32`.
    return name, getattr(array.dtype, 'itemsize', 8)


def _bytes(rows: np.ndarray) -> bytes:
  if rows.dtype == object:
    return repr(rows.tolist()).encode()
  return np.ascontiguousarray(rows).tobytes()


def _has_paths(rows: np.ndarray) -> bool:
  """Returns whether strings are paths, which differ between machines."""
  return os.sep in repr(rows.ravel().tolist())
