"""Arrays as bytes in files, and what a file's header may claim of them."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.sealed_file import require

_MOST_AXES = 32  # NumPy's.
DTYPES = {
  dtype.name: dtype.as_numpy_dtype
  for dtype in (
    *(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.bool),
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
  )
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
