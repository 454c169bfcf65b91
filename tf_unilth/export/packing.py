"""Sparse arrays in few bytes: where weights are, and what they are.

Of an array with zeros are stored the positions of the others and their values.
Positions take the fewest bytes of
- `mask`: one bit per element, the first in the highest bit of the first byte;
- `steps`: per kept element how far it is from the one before (the first from
  position -1), in 1 or 2 bytes. A step that does not fit is several: the
  largest number of the type steps that far and keeps nothing there.

Steps of one byte are smaller than a mask from 88% zeros on, and never larger
than indices of 4 bytes but where fewer than one in a thousand is kept; then
steps of 2 bytes are. Both are undone by a few plain operations on arrays.

A -0.0 is a zero with a sign, as masks by multiplication leave: the positions
of those are stored apart, so that the array comes back to the bit.
"""

import dataclasses
import math

import numpy as np

_STEPS = (np.uint8, np.uint16)


@dataclasses.dataclass(frozen=True)
class Positions:
  """Some positions of an array.

  Args:
    encoding: `mask` or `steps`, as the module says.
    data: uint8 for a mask, uint8 or uint16 for steps.
  """

  encoding: str
  data: np.ndarray


@dataclasses.dataclass(frozen=True)
class PackedArray:
  """An array in few bytes; `unpack` gives it back.

  Args:
    shape: of the array.
    dtype: of the array.
    values: the kept elements in order, or all where `kept` is `None`; their
      type may be narrower than `dtype`.
    kept: where they are.
    negative: where a -0.0 is; `None` without any.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  values: np.ndarray
  kept: Positions | None = None
  negative: Positions | None = None

  @property
  def size(self) -> int:
    """How many elements the array has."""
    return math.prod(self.shape)

  @property
  def encoding(self) -> str:
    """`mask`, `steps` or `dense`."""
    return self.kept.encoding if self.kept else 'dense'

  @property
  def nbytes(self) -> int:
    """How many bytes are stored."""
    positions = [p.data.nbytes for p in (self.kept, self.negative) if p]
    return self.values.nbytes + sum(positions)


def pack(array: np.ndarray, dtype: np.dtype | None = None) -> PackedArray:
  """Returns an array in the fewest bytes.

  Args:
    array: of numbers, of any shape.
    dtype: the type to store the values in, its own by default. What becomes
      zero in it is not stored.

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
  """Returns the array that was packed, as TensorFlow unpacks it at load.

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
  """Returns whether arrays of this type can be packed: of real numbers.

  >>> is_packable(np.dtype('float16')), is_packable(np.dtype('complex64'))
  (True, False)
  """
  return dtype.kind in 'iu' or _is_real(dtype)


def encode(kept: np.ndarray) -> Positions:
  """Returns the positions of True in the fewest bytes.

  Args:
    kept: booleans, of one dimension.

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
  """Returns the positions as indices.

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
  # NumPy does not know bfloat16 as a float, but compares it as one.
  return dtype.kind == 'f' or dtype.name == 'bfloat16'
