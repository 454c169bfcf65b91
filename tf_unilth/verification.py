"""What an export wrote: read again by plain TensorFlow, and compared."""

import dataclasses
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth import arguments, packed_saved_model
from tf_unilth.compat import keras
from tf_unilth.messages import count

# Of inputs that are made up: the batch, and any other size that is free.
_BATCH, _SIZE = 2, 32


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

  @property
  def ratio(self) -> float:
    """How many times smaller the weights are on disk than in memory."""
    return self.dense_bytes / self.stored_bytes if self.stored_bytes else 1.0

  def __str__(self) -> str:
    weights = f'weights differ by at most {self.weight_difference:.2g}'
    ratio = self.ratio
    smaller = f', {ratio:.3g} times smaller' if ratio > 1.05 else ''
    outputs = 'outputs not compared'
    if self.output_difference is not None:
      outputs = f'outputs differ by at most {self.output_difference:.2g}'
    return '\n'.join(
      (
        f'{self.path}: {self.total_bytes:,} bytes, verified by loading it',
        f'weights: {self.dense_bytes:,} bytes dense, {self.stored_bytes:,} '
        f'stored{smaller}; {self._how_many()}',
        f'zeros: {self.zeros_kept:,} of {self.zeros:,} kept; '
        + (
          weights if self.weight_difference else 'weights the same to the bit'
        ),
        f'{outputs} ({self.compared_on})',
      )
    )

  def _how_many(self) -> str:
    if self.packed:
      return f'{self.packed} packed'
    return 'none packed' + ('' if self.zeros else ': there are no zeros')


def verify(
  model: keras.Model,
  path: str,
  serve: Callable[..., Any],
  inputs: Any,
  exact: bool,
) -> ExportedModel:
  """Loads a SavedModel and compares it with the model.

  Args:
    model: what was exported.
    path: where to.
    serve: computes the outputs in memory.
    inputs: a batch, `None` to make one up.
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
  output_difference, compared_on = _compare(
    serve, loaded.serve, packed_saved_model.signature(model), inputs
  )
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


def check_inputs(model: keras.Model, inputs: Any) -> None:
  """Raises a `ValueError` unless inputs are a batch that the model takes."""
  if inputs is None:
    return
  if not all(len(np.atleast_1d(part)) for part in _flat(inputs)):
    raise ValueError('inputs must hold samples, but has none.')
  try:
    model(_batch(packed_saved_model.signature(model), inputs), training=False)
  except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
    raise ValueError(
      'inputs must be a batch, nested as the inputs of the model are, but is '
      f'{arguments.shown(inputs)}: {str(error).strip().splitlines()[0][:200]}'
    ) from None


def _batch(signature: Any, inputs: Any) -> Any:
  """Returns inputs in the model's types."""
  return tf.nest.map_structure(
    lambda spec, array: tf.cast(array, spec.dtype), signature, inputs
  )


def _load(path: str) -> Any:
  # In a thread of its own there is no strategy's scope, in which the variables
  # would be mirrored.
  with futures.ThreadPoolExecutor(1) as threads:
    return threads.submit(tf.saved_model.load, path).result()


def _compare(
  ours: Callable[..., Any],
  theirs: Callable[..., Any],
  signature: Any,
  inputs: Any,
) -> tuple[float | None, str]:
  """Returns the largest difference of outputs, and on what it was found."""
  if inputs is None:
    try:
      batch = tf.nest.map_structure(_made_up, signature)
      outputs = _flat(ours(batch))
    except (ValueError, TypeError, tf.errors.OpError):
      return None, 'no inputs given, and none can be made up'
    compared_on = 'on made-up inputs'
  else:
    batch = _batch(signature, inputs)
    outputs = _flat(ours(batch))
    number = len(tf.nest.flatten(inputs)[0])
    compared_on = f'on {count(number, "input")} given'
  pairs = list(zip(outputs, _flat(theirs(batch)), strict=True))
  return _largest_difference(pairs), compared_on


def _made_up(spec: tf.TensorSpec) -> tf.Tensor:
  """Returns a batch of noise, or of zeros where it has to be a valid number."""
  sizes = [_SIZE if size is None else size for size in spec.shape]
  if spec.shape[0] is None:
    sizes[0] = _BATCH
  if spec.dtype.is_floating:
    noise = np.random.default_rng(0).standard_normal(sizes)
    return tf.cast(noise, spec.dtype)
  if spec.dtype.is_integer or spec.dtype.is_bool:
    return tf.zeros(sizes, spec.dtype)
  raise TypeError(f'there is no making up {spec.dtype}.')


def _flat(outputs: Any) -> list[np.ndarray]:
  parts = tf.nest.flatten(outputs, expand_composites=True)
  return [np.asarray(part) for part in parts]


def _largest_difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
  return max((_difference(a, b) for a, b in pairs if a.size), default=0.0)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
  """Returns the largest absolute difference; infinite if none can be told."""
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
