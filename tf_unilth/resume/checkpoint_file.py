"""Writes and reads the file of a checkpoint.

It is a checksummed file (see `files/checksummed_file.py`). All numbers are
little-endian:

    header     JSON: epoch, step, description of the run, names, shapes and
               dtypes of the arrays, and the values that are not arrays
    arrays     the bytes of the arrays, one after the other
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
# Keys in the header that mark types which JSON lacks.
_ARRAY, _BYTES, _FLOAT, _TUPLE, _ITEMS = (
  'array',
  'bytes',
  'float',
  'tuple',
  'items',
)


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
  """The state of a run between two steps.

  Args:
    epoch: the number of completed epochs, counted as `fit` does.
    step: the number of completed steps of the next epoch.
    first_epoch: the `initial_epoch` that the run began with.
    finished: whether the run has no epochs left.
    run: the description of the run, as JSON can hold it.
    variables: the values of variables by name.
    values: all other state: numbers, strings, bytes, arrays, lists and dicts.
  """

  epoch: int
  step: int
  first_epoch: int
  finished: bool
  run: Mapping[str, Any]
  variables: Mapping[str, np.ndarray]
  values: Mapping[str, Any]


def write(path: pathlib.Path, checkpoint: Checkpoint) -> None:
  """Writes a temporary file beside `path`, flushes it and renames it.

  Args:
    path: the file to write.
    checkpoint: its contents.

  Raises:
    OSError: `path` cannot be written; an existing file is unchanged.
    TypeError: a value has a type that a checkpoint cannot hold.
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
  """Reads a file that `write` wrote, and checks everything in it.

  Args:
    path: the file.

  Raises:
    DamagedError: it is not a checkpoint, or is incomplete or corrupted.
    OSError: it cannot be read.
  """
  header, payload = _FORMAT.read(path)
  checksummed_file.check_fields(header, _HEADER_FIELDS)
  arrays = _arrays(header['arrays'], payload)
  values = _decode(header['values'], arrays)
  require(isinstance(values, dict), 'its values are not a dictionary.')
  prefix = 'variable '
  return Checkpoint(
    header['epoch'],
    header['step'],
    header['first_epoch'],
    bool(header['finished']),
    header['run'],
    {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)},
    values,
  )


_HEADER_FIELDS: dict[str, tuple[Any, str]] = {
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
  require(len(found) == len(entries), 'two of its arrays have the same name.')
  return found


def _size(entry: Any) -> int:
  """Checks the header's entry of an array; returns its size in bytes."""
  checksummed_file.check_keys('an array', entry, {'name', 'shape', 'dtype'})
  fits = (
    isinstance(entry['name'], str)
    and array_bytes.is_shape(entry['shape'], least=0)
    and array_bytes.is_dtype(entry['dtype'])
  )
  require(fits, 'an array has an invalid name, shape or dtype.')
  return math.prod(entry['shape']) * np.dtype(DTYPES[entry['dtype']]).itemsize


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
  """Returns a value as JSON can hold it; adds its arrays to `arrays`."""
  if isinstance(value, np.ndarray | np.generic):
    return {_ARRAY: _add_array(np.asarray(value), arrays)}
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else {_FLOAT: repr(value)}
  if isinstance(value, bytes):
    return {_BYTES: _add_array(np.frombuffer(value, np.uint8), arrays)}
  if isinstance(value, list):
    return [_encode(item, arrays) for item in value]
  if isinstance(value, tuple):
    return {_TUPLE: [_encode(item, arrays) for item in value]}
  if isinstance(value, Mapping):
    pairs = value.items()
    return {_ITEMS: [[k, _encode(item, arrays)] for k, item in pairs]}
  raise TypeError(
    f'a checkpoint cannot hold {value!r} of type {type(value).__name__}.'
  )


def _add_array(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
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
  require(len(value) == 1, 'one of its values is invalid.')
  ((kind, content),) = value.items()
  try:
    return _DECODERS[kind](content, arrays)
  except (KeyError, TypeError, ValueError) as error:
    if isinstance(error, DamagedError):
      raise
    raise DamagedError(f'one of its values is invalid ({error}).') from None


_DECODERS = {
  _ARRAY: lambda name, arrays: arrays[name].copy(),
  _BYTES: lambda name, arrays: arrays[name].tobytes(),
  _FLOAT: lambda text, _: float(text),
  _TUPLE: lambda items, arrays: tuple(_decode(i, arrays) for i in items),
  _ITEMS: lambda pairs, arrays: {k: _decode(v, arrays) for k, v in pairs},
}
