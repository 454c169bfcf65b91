"""Packs sparse arrays: stores only nonzero values and their positions.

The positions are stored in the smaller of two encodings:
- `mask`: one bit per element, the first in the highest bit of the first byte;
- `steps`: for each kept element, the distance from the previous one (for the
  first, from position -1), in 1 or 2 bytes. A distance that does not fit is
  split: the largest number of the type advances by that much without keeping an
  element.

One-byte steps are smaller than a mask from 88% zeros. They can be larger than
4-byte indices only if fewer than one element in a thousand is kept, and then
2-byte steps are smaller. A few plain array operations decode either encoding.

Multiplication by a mask can produce -0.0. The positions of these are stored
separately, so unpacking is exact to the bit.
"""

import dataclasses
import math

import numpy as np

_STEPS = (np.uint8, np.uint16)


@dataclasses.dataclass(frozen=True)
class Positions:
  """Encoded positions in an array.

  Args:
    encoding: `mask` or `steps`; see the module's docstring.
    data: the encoded positions: uint8 for a mask, uint8 or uint16 for steps.
  """

  encoding: str
  data: np.ndarray


@dataclasses.dataclass(frozen=True)
class PackedArray:
  """A packed array; `unpack` restores it.

  Args:
    shape: the shape of the array.
    dtype: the type of the array.
    values: the kept elements in order, or all elements if `kept` is `None`; the
      type may be narrower than `dtype`.
    kept: the positions of the kept elements.
    negative: the positions of -0.0; `None` if there are none.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  values: np.ndarray
  kept: Positions | None = None
  negative: Positions | None = None

  @property
  def size(self) -> int:
    """The number of elements of the array."""
    return math.prod(self.shape)

  @property
  def encoding(self) -> str:
    """The encoding: `mask`, `steps` or `dense`."""
    return self.kept.encoding if self.kept else 'dense'

  @property
  def nbytes(self) -> int:
    """The number of stored bytes."""
    positions = [p.data.nbytes for p in (self.kept, self.negative) if p]
    return self.values.nbytes + sum(positions)


def pack(array: np.ndarray, dtype: np.dtype | None = None) -> PackedArray:
  """Returns an array in the encoding with the fewest bytes.

  Args:
    array: real numbers, of any shape.
    dtype: the stored type of the values; `None` keeps that of the array. Values
      that round to zero are not stored.

  >>> array = np.zeros((100, 100), np.float32)
  >>> array[::10, 5] = 7
  >>> packed = pack(array)
  >>> packed.encoding, array.nbytes, packed.nbytes
  ('steps', 40000, 60)
  >>> bool(np.all(unpack(packed) == array))
  True
  """
  stored = array.astype(dtype or array.dtype, copy=False).reshape(-1)
  dense = PackedArray(array.shape, array.dtype, stored)
  kept = stored != 0
  negative = np.signbit(stored) & ~kept if _is_real(stored.dtype) else None
  sparse = PackedArray(
    array.shape,
    array.dtype,
    stored[kept],
    encode(kept),
    encode(negative) if negative is not None and negative.any() else None,
  )
  return min(dense, sparse, key=lambda packed: packed.nbytes)


def unpack(packed: PackedArray) -> np.ndarray:
  """Returns the unpacked array, equal to that of TensorFlow at load time.

  Args:
    packed: the result of `pack`.

  >>> unpack(pack(np.array([[0.0, 2.0], [-0.0, 0.0]])))
  array([[ 0.,  2.],
         [-0.,  0.]])
  """
  values = packed.values.astype(packed.dtype)
  if packed.kept is None:
    return values.reshape(packed.shape)
  flat = np.zeros(packed.size, packed.dtype)
  flat[decode(packed.kept, packed.size)] = values
  if packed.negative is not None:
    flat[decode(packed.negative, packed.size)] = -0.0
  return flat.reshape(packed.shape)


def is_packable(dtype: np.dtype) -> bool:
  """Returns whether a type can be packed, that is, has real numbers.

  Args:
    dtype: the type of an array.

  >>> is_packable(np.dtype('float16')), is_packable(np.dtype('complex64'))
  (True, False)
  """
  return dtype.kind in 'iu' or _is_real(dtype)


def encode(kept: np.ndarray) -> Positions:
  """Returns the positions of True in the encoding with the fewest bytes.

  Args:
    kept: booleans, of shape (n,).

  >>> encode(np.array([True, False, False, True])).data
  array([144], dtype=uint8)
  """
  steps = np.diff(np.flatnonzero(kept), prepend=-1)
  sizes = {kind: _steps_bytes(steps, kind) for kind in _STEPS}
  kind = min(sizes, key=sizes.__getitem__)
  if -(-kept.size // 8) <= sizes[kind]:
    return Positions('mask', np.packbits(kept))
  limit = np.iinfo(kind).max
  data = np.full(sizes[kind] // kind().itemsize, limit, kind)
  data[np.cumsum(steps // limit + 1) - 1] = steps % limit
  return Positions('steps', data)


def decode(positions: Positions, size: int) -> np.ndarray:
  """Returns positions as indices.

  Args:
    positions: the result of `encode`.
    size: the number of elements of the array.

  >>> decode(encode(np.array([True, False, False, True])), 4)
  array([0, 3])
  """
  if positions.encoding == 'mask':
    return np.flatnonzero(np.unpackbits(positions.data, count=size))
  limit = np.iinfo(positions.data.dtype).max
  ends = np.cumsum(positions.data, dtype=np.int64) - 1
  return ends[positions.data != limit]


def _steps_bytes(steps: np.ndarray, kind: type[np.unsignedinteger]) -> int:
  limit = np.iinfo(kind).max
  return int(np.sum(steps // limit + 1)) * kind().itemsize


def _is_real(dtype: np.dtype) -> bool:
  # NumPy compares bfloat16 as floats, but its kind is not 'f'.
  return dtype.kind == 'f' or dtype.name == 'bfloat16'
