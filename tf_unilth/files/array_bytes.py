"""Arrays as bytes in files, and what a file's header may claim of them."""

from typing import Any

import ml_dtypes
import numpy as np

from tf_unilth.files.checksummed_file import require

_MOST_AXES = 32  # NumPy's.
# bfloat16 is ml_dtypes's, which TensorFlow and JAX take it from.
DTYPES: dict[str, Any] = {
  'bfloat16': ml_dtypes.bfloat16,
  **{
    dtype.__name__.rstrip('_'): dtype
    for dtype in (
      *(np.float16, np.float32, np.float64, np.bool_),
      *(np.int8, np.int16, np.int32, np.int64),
      *(np.uint8, np.uint16, np.uint32, np.uint64),
    )
  },
}


def to_bytes(array: np.ndarray) -> bytes:
  """Returns the bits of an array, little-endian, whatever they stand for."""
  native = np.ascontiguousarray(array)
  native = native.view(f'=u{array.dtype.itemsize}')
  return native.astype(f'<u{array.dtype.itemsize}').tobytes()


def from_bytes(what: str, raw: memoryview, dtype_name: str) -> np.ndarray:
  """Returns the array that `to_bytes` wrote, flat.

  Args:
    what: what to call it in a message.
    raw: the bytes, as many as the array has.
    dtype_name: one of `DTYPES`.
  """
  dtype = np.dtype(DTYPES[dtype_name])
  integers = np.frombuffer(raw, f'<u{dtype.itemsize}')
  fits = dtype_name != 'bool' or not integers.size or integers.max() <= 1
  require(fits, f'{what} is not of booleans.')
  return integers.astype(f'=u{dtype.itemsize}').view(dtype)


def is_shape(shape: Any, least: int = 1) -> bool:
  """Returns whether it is a list of lengths, none of which is below `least`."""
  return (
    isinstance(shape, list)
    and len(shape) <= _MOST_AXES
    and all(type(n) is int and least <= n < 1 << 63 for n in shape)
  )


def is_dtype(name: Any) -> bool:
  """Returns whether it names one of `DTYPES`."""
  return isinstance(name, str) and name in DTYPES
