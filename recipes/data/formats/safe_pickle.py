"""Reads pickles of NumPy arrays, lists and dicts without executing anything.

CIFAR's Python version consists of pickles, and a pickle can call any function
by its name. No library reads them safely: `pickle`, `np.load` with
`allow_pickle=True` and Keras's loader all run what the file says. This reader
resolves only the names that arrays need, to classes that store their arguments.
Arrays are made from these arguments afterwards, once their size is checked.
"""

import io
import math
import pathlib
import pickle
import pickletools
from typing import Any

import numpy as np

from recipes.data.arrays import DataError, reason


class _Dtype:
  """Stands for numpy.dtype."""

  def __init__(self, name: Any, *_: Any):
    self.name = name

  def __setstate__(self, state: Any) -> None:
    """Byte order and alignment; of no interest to bytes."""


class _Array:
  """Stands for an array whose values follow."""

  state: Any = None

  def __setstate__(self, state: Any) -> None:
    self.state = state


class _Type:
  """Stands for numpy.ndarray, which is named but never called."""

  def __init__(self) -> None:
    raise pickle.UnpicklingError('an array is made in an unusual way')


def _reconstruct(*_: Any) -> _Array:
  return _Array()


def _encode(text: str, _: str) -> bytes:
  """Stands for codecs.encode: Python 3 writes bytes so for Python 2."""
  return text.encode('latin1')


_STAND_INS: dict[tuple[str, str], Any] = {
  ('_codecs', 'encode'): _encode,
  ('numpy', 'dtype'): _Dtype,
  ('numpy', 'ndarray'): _Type,
  ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
  ('numpy._core.multiarray', '_reconstruct'): _reconstruct,
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    """Returns a stand-in; no other name is resolved."""
    if (module, name) not in _STAND_INS:
      raise pickle.UnpicklingError(
        f'it names {module}.{name}, which is no array, list or dict'
      )
    return _STAND_INS[module, name]


def read(path: pathlib.Path) -> Any:
  """Returns the content of a pickle; strings of Python 2 are bytes.

  Raises:
    DataError: it is damaged, or holds anything else.
  """
  try:
    content = path.read_bytes()
    _check_sizes(content)
    value = _Unpickler(io.BytesIO(content), encoding='bytes').load()
    return _with_arrays(value)
  except OSError as error:
    raise DataError(f"'{path}': {error.strerror}.") from error
  # The errors of a damaged pickle are of many classes.
  except Exception as error:
    raise DataError(
      f"'{path}' is damaged or not read here: {reason(error)}."
    ) from error


def _check_sizes(content: bytes) -> None:
  """Raises if an opcode asks for more memory than the file can fill."""
  for opcode, argument, _ in pickletools.genops(content):
    index = opcode.name in ('PUT', 'LONG_BINPUT')
    if index and int(argument or 0) > len(content):
      raise pickle.UnpicklingError('an index is out of range')


def _with_arrays(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _with_arrays(element) for key, element in value.items()}
  return _array(*value.state) if isinstance(value, _Array) else value


def _array(_: int, shape: Any, dtype: _Dtype, order: bool, raw: Any) -> Any:
  if dtype.name not in ('u1', b'u1') or not isinstance(raw, bytes):
    raise DataError('an array is not of unsigned bytes')
  if math.prod(shape) != len(raw):
    raise DataError(f'an array has {len(raw)} bytes for shape {list(shape)}')
  values = np.frombuffer(raw, np.uint8)
  return values.reshape(shape, order='F' if order else 'C')
