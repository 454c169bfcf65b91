"""What an export wrote: read again by plain TensorFlow, and compared."""

import dataclasses
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.export import input_values
from tf_unilth.export.model_inputs import ModelInputs
from tf_unilth.wording import count

_BATCH = 2  # Of inputs that are made up.


@dataclasses.dataclass(frozen=True)
class ExportedModel:
  """What an export wrote, and what loading it again found; prints as that.

  Args:
    path: where it is.
    packed: how many weights are stored packed.
    dense_bytes: of all weights and biases in memory.
    stored_bytes: of the same as they are stored.
    total_bytes: of all files.
    zeros: of weights with two dimensions or more, in memory.
    zeros_kept: of the same weights after loading.
    weight_difference: the largest absolute one, after loading.
    output_difference: the largest absolute one, after loading; `None` if
      outputs were not compared.
    compared_on: on what outputs were compared, or why they were not.
    notes: what else there is to know, a sentence each.
  """

  path: str
  packed: int
  dense_bytes: int
  stored_bytes: int
  total_bytes: int
  zeros: int
  zeros_kept: int
  weight_difference: float
  output_difference: float | None
  compared_on: str
  notes: tuple[str, ...] = ()

  @property
  def ratio(self) -> float:
    """How many times smaller the weights are on disk than in memory."""
    return self.dense_bytes / self.stored_bytes if self.stored_bytes else 1.0

  def __str__(self) -> str:
    weights = f'weights differ by at most {self.weight_difference:.2g}'
    outputs = 'outputs not compared'
    if self.output_difference is not None:
      outputs = f'outputs differ by at most {self.output_difference:.2g}'
    return '\n'.join(
      (
        f'{self.path}: {self.total_bytes:,} bytes, verified by loading it',
        f'weights: {self.dense_bytes:,} bytes dense, {self.stored_bytes:,} '
        f'stored{self._smaller()}; {self._how_many()}',
        f'zeros: {self.zeros_kept:,} of {self.zeros:,} kept; '
        + (
          weights if self.weight_difference else 'weights the same to the bit'
        ),
        f'{outputs} ({self.compared_on})',
        *(f'note: {note}' for note in self.notes),
      )
    )

  def _smaller(self) -> str:
    return f', {self.ratio:.3g} times smaller' if self.ratio > 1.05 else ''

  def _how_many(self) -> str:
    if self.packed:
      return f'{self.packed} packed'
    return 'none packed' + ('' if self.zeros else ': there are no zeros')


def verify(
  model: keras.Model,
  path: str,
  serve: Callable[..., Any],
  batch: Any,
  exact: bool,
) -> ExportedModel:
  """Loads a SavedModel and compares it with the model.

  Args:
    model: what was exported.
    path: where to.
    serve: computes the outputs in memory.
    batch: of `checked_batch`, `None` to make one up.
    exact: whether weights must be the same to the bit.

  Returns:
    What was found; as if nothing were packed.

  Raises:
    RuntimeError: `exact`, and the weights are not the same.
  """
  loaded = _load(path)
  pairs = [
    (ours.numpy(), theirs.numpy())
    for ours, theirs in zip(model.variables, loaded.variables, strict=True)
  ]
  if exact and not all(_same_bits(*pair) for pair in pairs):
    raise RuntimeError(
      'the SavedModel holds other weights than the model, and was not kept.'
    )
  matrices = [pair for pair in pairs if pair[0].ndim > 1]
  output_difference, compared_on = _compare(model, serve, loaded.serve, batch)
  size = sum(ours.nbytes for ours, _ in pairs)
  return ExportedModel(
    path=path,
    packed=0,
    dense_bytes=size,
    stored_bytes=size,
    total_bytes=_folder_bytes(path),
    zeros=sum(_zeros(ours) for ours, _ in matrices),
    zeros_kept=sum(int(np.sum((a == 0) & (b == 0))) for a, b in matrices),
    weight_difference=0.0 if exact else _largest_difference(pairs),
    output_difference=output_difference,
    compared_on=compared_on,
  )


def checked_batch(model: keras.Model, inputs: Any) -> Any:
  """Returns a user's inputs as a batch that the model was run on.

  Args:
    model: a built model.
    inputs: an array, or arrays, ragged and sparse tensors in the structure that
      the model takes; `None` stays what it is.

  Raises:
    ValueError: the model does not take them.
  """
  takes = ModelInputs(model)
  if inputs is None:
    return None
  try:
    named = takes.named(inputs, 'inputs')
    batch = _batch(takes, named)
    size = input_values.samples(next(iter(named.values())))
    if takes.batch not in (None, size):
      raise ValueError(f'the model takes {takes.batch} samples, not {size}')
    model(batch, training=False)
  except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
    raise ValueError(
      'inputs must be a batch, nested as the inputs of the model are, but is '
      f'{format_value(inputs)}: {str(error).strip().splitlines()[0][:200]}'
    ) from None
  return batch


def _batch(takes: ModelInputs, values: dict[str, Any]) -> Any:
  """Returns named values as tensors, in the model's structure."""
  return takes.nest(
    tf.constant(value, takes.specs[name].dtype)
    if isinstance(value, np.ndarray)
    else value
    for name, value in values.items()
  )


def _load(path: str) -> Any:
  # In a thread of its own there is no strategy's scope, in which the variables
  # would be mirrored.
  with futures.ThreadPoolExecutor(1) as threads:
    return threads.submit(tf.saved_model.load, path).result()


def _compare(
  model: keras.Model,
  ours: Callable[..., Any],
  theirs: Callable[..., Any],
  batch: Any,
) -> tuple[float | None, str]:
  """Returns the largest difference of outputs, and on what it was found."""
  if batch is None:
    takes = ModelInputs(model)
    try:
      batch = _batch(takes, takes.made_up(0, _BATCH))
      outputs = _flat(ours(batch))
    except (ValueError, TypeError, tf.errors.OpError):
      return None, (
        'no inputs given, and none can be made up: give some by inputs='
      )
    compared_on = 'on made-up inputs'
  else:
    outputs = _flat(ours(batch))
    number = input_values.samples(tf.nest.flatten(batch)[0])
    compared_on = f'on {count(number, "input")} given'
  pairs = list(zip(outputs, _flat(theirs(batch)), strict=True))
  return _largest_difference(pairs), compared_on


def _flat(outputs: Any) -> list[np.ndarray]:
  """Returns all arrays, of ragged and sparse outputs the parts."""
  parts = tf.nest.flatten(outputs, expand_composites=True)
  return [np.asarray(part) for part in parts]


def _largest_difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
  return max((_difference(a, b) for a, b in pairs), default=0.0)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
  """Returns the largest absolute difference; infinite if none can be told."""
  if one.shape != other.shape:
    return np.inf
  if not one.size:
    return 0.0
  if one.dtype.kind in 'OSUb':
    return 0.0 if np.array_equal(one, other) else np.inf
  wide = np.complex128 if one.dtype.kind == 'c' else np.float64
  one, other = one.astype(wide), other.astype(wide)
  same = (one == other) | (np.isnan(one) & np.isnan(other))
  with np.errstate(invalid='ignore'):
    gaps = np.where(same, 0, np.abs(one - other))
  return float(np.max(np.nan_to_num(gaps, nan=np.inf)))


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
  if one.dtype.kind == 'O':
    return np.array_equal(one, other)
  return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _zeros(array: np.ndarray) -> int:
  return int(np.sum(array == 0))


def _folder_bytes(path: str) -> int:
  files = pathlib.Path(path).rglob('*')
  return sum(file.stat().st_size for file in files if file.is_file())
