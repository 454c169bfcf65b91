"""The file of one checkpoint: a moment of a run, written and read.

It is a sealed file (see `sealed_file.py`). All numbers are little-endian:

    header     JSON: epoch, step, what the run is, names, shapes and dtypes of
               the arrays, and values that are no arrays
    arrays     their own bytes, one after the other
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.files import array_bytes, checksummed_file
from tf_unilth.files.array_bytes import DTYPES
from tf_unilth.files.checksummed_file import DamagedError, require

_FORMAT = checksummed_file.Format('checkpoint', b'\x89RUN\r\n\x1a\n', 1)
# In the header, what JSON has no form for.
_ARRAY, _BYTES, _FLOAT, _TUPLE, _ITEMS = (
  'array',
  'bytes',
  'float',
  'tuple',
  'items',
)


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
  """A moment of a run.

  Args:
    epoch: how many epochs were completed, counted as `fit` does.
    step: how many steps of the next epoch were done.
    first_epoch: the `initial_epoch` that the run began with.
    finished: whether no epoch was to follow.
    run: what the run is, as JSON can hold it; another run is refused.
    variables: their values by name.
    values: all else, of numbers, strings, bytes, arrays, lists and dicts.
  """

  epoch: int
  step: int
  first_epoch: int
  finished: bool
  run: Mapping[str, Any]
  variables: Mapping[str, np.ndarray]
  values: Mapping[str, Any]


def write(path: pathlib.Path, checkpoint: Checkpoint) -> None:
  """Writes a file beside `path`, flushes it and renames it.

  Raises:
    OSError: `path` cannot be written; what was there is there still.
    TypeError: a value that a file cannot hold.
  """
  arrays = {f'variable {k}': v for k, v in checkpoint.variables.items()}
  header = {
    'epoch': checkpoint.epoch,
    'step': checkpoint.step,
    'first_epoch': checkpoint.first_epoch,
    'finished': int(checkpoint.finished),
    'run': checkpoint.run,
    'values': _encode(checkpoint.values, arrays),
    'arrays': [
      {'name': name, 'shape': array.shape, 'dtype': array.dtype.name}
      for name, array in arrays.items()
    ],
  }
  payload = map(array_bytes.to_bytes, arrays.values())
  length = sum(array.nbytes for array in arrays.values())
  checksummed_file.write(
    path, _FORMAT.chunks(checksummed_file.dump(header), payload, length)
  )


def read(path: str | os.PathLike[str]) -> Checkpoint:
  """Reads a file that `write` wrote; trusts nothing in it.

  Raises:
    DamagedError: it is no checkpoint, or not all of one, or was altered.
    OSError: it cannot be read.
  """
  header, payload = _FORMAT.read(path)
  checksummed_file.check_fields(header, _HEADER)
  arrays = _arrays(header['arrays'], payload)
  values = _decode(header['values'], arrays)
  require(isinstance(values, dict), 'its values have no names.')
  kind = 'variable '
  return Checkpoint(
    header['epoch'],
    header['step'],
    header['first_epoch'],
    bool(header['finished']),
    header['run'],
    {k[len(kind) :]: v for k, v in arrays.items() if k.startswith(kind)},
    values,
  )


_HEADER: dict[str, tuple[Any, str]] = {
  'epoch': (int, 'a whole number'),
  'step': (int, 'a whole number'),
  'first_epoch': (int, 'a whole number'),
  'finished': (int, 'a whole number'),
  'run': (dict, 'an object'),
  'values': (dict, 'an object'),
  'arrays': (list, 'a list'),
}


def _arrays(entries: list[Any], payload: memoryview) -> dict[str, np.ndarray]:
  sizes = [_size(entry) for entry in entries]
  require(
    sum(sizes) == len(payload),
    f'its shapes claim {sum(sizes)} bytes, but it holds {len(payload)}.',
  )
  found, begin = {}, 0
  for entry, size in zip(entries, sizes, strict=True):
    name, raw = entry['name'], payload[begin : begin + size]
    flat = array_bytes.from_bytes(f'array {name!r}', raw, entry['dtype'])
    found[name] = flat.reshape(entry['shape'])
    begin += size
  require(len(found) == len(entries), 'two of its arrays have one name.')
  return found


def _size(entry: Any) -> int:
  """Returns how many bytes an array claims, once what it claims is checked."""
  checksummed_file.check_keys('an array', entry, {'name', 'shape', 'dtype'})
  fits = (
    isinstance(entry['name'], str)
    and array_bytes.is_shape(entry['shape'], least=0)
    and array_bytes.is_dtype(entry['dtype'])
  )
  require(fits, 'name, shape or dtype of an array is none.')
  return math.prod(entry['shape']) * np.dtype(DTYPES[entry['dtype']]).itemsize


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
  """Returns a value as JSON; its arrays are added to `arrays`."""
  if isinstance(value, np.ndarray | np.generic):
    return {_ARRAY: _keep(np.asarray(value), arrays)}
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else {_FLOAT: repr(value)}
  if isinstance(value, bytes):
    return {_BYTES: _keep(np.frombuffer(value, np.uint8), arrays)}
  if isinstance(value, list):
    return [_encode(item, arrays) for item in value]
  if isinstance(value, tuple):
    return {_TUPLE: [_encode(item, arrays) for item in value]}
  if isinstance(value, Mapping):
    pairs = value.items()
    return {_ITEMS: [[k, _encode(item, arrays)] for k, item in pairs]}
  raise TypeError(
    f'a checkpoint cannot hold {value!r}, a {type(value).__name__}.'
  )


def _keep(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
  if array.dtype.name not in DTYPES:
    raise TypeError(
      f'a checkpoint cannot hold an array of dtype {array.dtype}: it must be '
      f'one of {", ".join(DTYPES)}.'
    )
  name = f'value {len(arrays)}'
  arrays[name] = array
  return name


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
  if isinstance(value, list):
    return [_decode(item, arrays) for item in value]
  if not isinstance(value, dict):
    return value
  require(len(value) == 1, 'one of its values is none.')
  ((kind, content),) = value.items()
  try:
    return _DECODERS[kind](content, arrays)
  except (KeyError, TypeError, ValueError) as error:
    if isinstance(error, DamagedError):
      raise
    raise DamagedError(f'one of its values is none ({error}).') from None


_DECODERS = {
  _ARRAY: lambda name, arrays: arrays[name].copy(),
  _BYTES: lambda name, arrays: arrays[name].tobytes(),
  _FLOAT: lambda text, _: float(text),
  _TUPLE: lambda items, arrays: tuple(_decode(i, arrays) for i in items),
  _ITEMS: lambda pairs, arrays: {k: _decode(v, arrays) for k, v in pairs},
}
