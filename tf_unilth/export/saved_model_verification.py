"""Verifies a SavedModel: loads it and compares weights and outputs."""

import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.served_model import ServedModel
from tf_unilth.export import input_values
from tf_unilth.export.exported_model import ExportedModel
from tf_unilth.export.model_inputs import ModelInputs
from tf_unilth.wording import count

_RANDOM_SAMPLES = 2  # Batch size of random inputs.


def verify(
  model: ServedModel,
  path: str,
  serve: Callable[..., Any],
  batch: Any,
  exact: bool,
) -> ExportedModel:
  """Loads a SavedModel and compares it with the model.

  Args:
    model: the exported model.
    path: the directory of the SavedModel.
    serve: the served function in memory.
    batch: the result of `checked_batch`; `None` for random inputs.
    exact: whether weights must be the same to the bit.

  Returns:
    The result of the comparison. `packed` and `stored_bytes` have the values of
    a SavedModel without packed weights.

  Raises:
    RuntimeError: `exact` is set, and the weights differ.
  """
  loaded = _load(path)
  pairs = [
    (value, found.numpy())
    for value, found in zip(model.values(), loaded.variables, strict=True)
  ]
  if exact and not all(_same_bits(*pair) for pair in pairs):
    raise RuntimeError(
      'the SavedModel has other weights than the model and was not kept.'
    )
  matrices = [(a, b) for a, b in pairs if a.ndim > 1]
  output_difference, compared_on = _compare(model, serve, loaded.serve, batch)
  size = sum(weight.nbytes for weight, _ in pairs)
  return ExportedModel(
    path=path,
    packed=0,
    dense_bytes=size,
    stored_bytes=size,
    total_bytes=_folder_bytes(path),
    zeros=sum(int(np.sum(a == 0)) for a, _ in matrices),
    zeros_kept=sum(int(np.sum((a == 0) & (b == 0))) for a, b in matrices),
    weight_difference=0.0 if exact else _largest_difference(pairs),
    output_difference=output_difference,
    compared_on=compared_on,
  )


def checked_batch(model: ServedModel, inputs: Any) -> Any:
  """Returns a user's inputs as a batch of tensors, after a run of the model.

  Args:
    model: a built model.
    inputs: arrays, ragged or sparse tensors in the model's structure or in a
      dict by input name; `None` is returned as it is.

  Raises:
    ValueError: the model does not accept `inputs`.
  """
  model_inputs = ModelInputs(model.model)
  if inputs is None:
    return None
  try:
    named = model_inputs.named(inputs, 'inputs')
    batch = _to_batch(model_inputs, named)
    size = input_values.count_samples(next(iter(named.values())))
    if model_inputs.batch not in (None, size):
      raise ValueError(
        f'the model takes {model_inputs.batch} samples, not {size}'
      )
    model.compute(batch)
  except (ValueError, TypeError, AttributeError, tf.errors.OpError) as error:
    raise ValueError(
      'inputs must be a batch, nested as the inputs of the model, but is '
      f'{format_value(inputs)}: {str(error).strip().splitlines()[0][:200]}'
    ) from None
  return batch


def _to_batch(model_inputs: ModelInputs, values: dict[str, Any]) -> Any:
  """Returns named values as tensors in the model's structure."""
  return model_inputs.nest(
    tf.constant(value, model_inputs.specs[name].dtype)
    if isinstance(value, np.ndarray)
    else value
    for name, value in values.items()
  )


def _load(path: str) -> Any:
  # A new thread is outside of any strategy scope, which would mirror the
  # variables.
  with futures.ThreadPoolExecutor(1) as threads:
    return threads.submit(tf.saved_model.load, path).result()


def _compare(
  model: ServedModel,
  serve: Callable[..., Any],
  loaded_serve: Callable[..., Any],
  batch: Any,
) -> tuple[float | None, str]:
  """Returns the largest output difference, and the inputs it was found on."""
  # On JAX the served function is a conversion, so the model itself is run.
  expected = serve if model.runs_in_tensorflow else model.compute
  if batch is None:
    model_inputs = ModelInputs(model.model)
    try:
      batch = _to_batch(model_inputs, model_inputs.made_up(0, _RANDOM_SAMPLES))
      outputs = _flatten(expected(batch))
    except (ValueError, TypeError, tf.errors.OpError):
      return None, (
        'no inputs given, and random ones cannot be made up: give some by '
        'inputs='
      )
    compared_on = 'on made-up inputs'
  else:
    outputs = _flatten(expected(batch))
    number = input_values.count_samples(tf.nest.flatten(batch)[0])
    compared_on = f'on {count(number, "input")} given'
  pairs = list(zip(outputs, _flatten(loaded_serve(batch)), strict=True))
  return _largest_difference(pairs), compared_on


def _flatten(outputs: Any) -> list[np.ndarray]:
  """Returns all arrays, including the components of composite tensors."""
  parts = tf.nest.flatten(outputs, expand_composites=True)
  return [np.asarray(part) for part in parts]


def _largest_difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
  return max((_difference(a, b) for a, b in pairs), default=0.0)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the largest absolute difference; infinite if it is undefined."""
  if a.shape != b.shape:
    return np.inf
  if not a.size:
    return 0.0
  if a.dtype.kind in 'OSUb':
    return 0.0 if np.array_equal(a, b) else np.inf
  wide = np.complex128 if a.dtype.kind == 'c' else np.float64
  a, b = a.astype(wide), b.astype(wide)
  same = (a == b) | (np.isnan(a) & np.isnan(b))
  with np.errstate(invalid='ignore'):
    differences = np.where(same, 0, np.abs(a - b))
  return float(np.max(np.nan_to_num(differences, nan=np.inf)))


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
  if a.dtype.kind == 'O':
    return np.array_equal(a, b)
  return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _folder_bytes(path: str) -> int:
  files = pathlib.Path(path).rglob('*')
  return sum(file.stat().st_size for file in files if file.is_file())
