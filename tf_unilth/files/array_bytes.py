"""Conversion of arrays to bytes, and checks of shapes and dtypes in headers."""

from typing import Any

import ml_dtypes
import numpy as np

from tf_unilth.files.checksummed_file import require

_MAX_RANK = 32  # NumPy's limit.
# TensorFlow and JAX take bfloat16 from ml_dtypes too.
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
  """Returns the elements of an array as little-endian bytes, bit for bit.

  Args:
    array: of any shape; its dtype is one of `DTYPES`.
  """
  native = np.ascontiguousarray(array)
  native = native.view(f'=u{array.dtype.itemsize}')
  return native.astype(f'<u{array.dtype.itemsize}').tobytes()


def from_bytes(what: str, raw: memoryview, dtype_name: str) -> np.ndarray:
  """Returns the array that `to_bytes` converted, flattened.

  Args:
    what: the name of the array in error messages.
    raw: the bytes of the array, all of them.
    dtype_name: a key of `DTYPES`.

  Raises:
    DamagedError: a boolean array has values other than 0 and 1.
  """
  dtype = np.dtype(DTYPES[dtype_name])
  integers = np.frombuffer(raw, f'<u{dtype.itemsize}')
  fits = dtype_name != 'bool' or not integers.size or integers.max() <= 1
  require(fits, f'{what} is not boolean: it has values other than 0 and 1.')
  return integers.astype(f'=u{dtype.itemsize}').view(dtype)


def is_shape(shape: Any, least: int = 1) -> bool:
  """Returns whether a value from a header is a list of dimensions.

  Args:
    shape: any value.
    least: the smallest allowed dimension.
  """
  return (
    isinstance(shape, list)
    and len(shape) <= _MAX_RANK
    and all(type(n) is int and least <= n < 1 << 63 for n in shape)
  )


def is_dtype(name: Any) -> bool:
  """Returns whether a value from a header is a key of `DTYPES`."""
  return isinstance(name, str) and name in DTYPES
