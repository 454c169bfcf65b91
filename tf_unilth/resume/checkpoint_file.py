"""Writes and reads the file of a checkpoint.

It is a safetensors file (see `files/array_container.py`) with these arrays:

    variable NAME   the value of a variable
    value NUMBER    an array or bytes among the other values

The description has epoch, step, the description of the run and the values that
are not arrays.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.files import array_container, checksummed_file, format_version
from tf_unilth.files.array_container import DTYPES
from tf_unilth.files.checksummed_file import DamagedError, require

_VERSION = 2
_CONTAINER = array_container.Container('checkpoint', _VERSION)
_MAGIC_1 = b'\x89RUN\r\n\x1a\n'  # The first bytes of format version 1.
_VARIABLE = 'variable '
# Keys in the description that mark types which JSON lacks.
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
    ValueError: a value is nested too deep.
  """
  arrays = {_VARIABLE + k: v for k, v in checkpoint.variables.items()}
  description = {
    'epoch': checkpoint.epoch,
    'step': checkpoint.step,
    'first_epoch': checkpoint.first_epoch,
    'finished': int(checkpoint.finished),
    'run': checkpoint.run,
    'values': _encode_all(checkpoint.values, arrays),
  }
  _CONTAINER.write(path, description, arrays)


def read(path: pathlib.Path) -> Checkpoint:
  """Reads a file that `write` wrote, and checks everything in it.

  Args:
    path: the file.

  Raises:
    DamagedError: it is not a checkpoint, or is incomplete or corrupted.
    VersionError: it has another format version.
    OSError: it cannot be read.
  """
  if checksummed_file.begins_with(path, _MAGIC_1):
    format_version.check(1, _VERSION)
  description, arrays = _CONTAINER.read(path)
  checksummed_file.check_fields(description, _FIELDS, 'its description')
  values = _decode(description['values'], arrays)
  require(isinstance(values, dict), 'its values are not a dictionary.')
  return Checkpoint(
    description['epoch'],
    description['step'],
    description['first_epoch'],
    bool(description['finished']),
    description['run'],
    {
      name.removeprefix(_VARIABLE): array
      for name, array in arrays.items()
      if name.startswith(_VARIABLE)
    },
    values,
  )


_FIELDS: dict[str, tuple[Any, str]] = {
  'epoch': (int, 'a whole number'),
  'step': (int, 'a whole number'),
  'first_epoch': (int, 'a whole number'),
  'finished': (int, 'a whole number'),
  'run': (dict, 'an object'),
  'values': (dict, 'an object'),
}


def _encode_all(values: Any, arrays: dict[str, np.ndarray]) -> Any:
  try:
    return _encode(values, arrays)
  except RecursionError:
    raise ValueError(
      f'what a checkpoint holds must not be {checksummed_file.TOO_DEEP}.'
    ) from None


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
