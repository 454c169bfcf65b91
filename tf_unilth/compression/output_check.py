"""Compares the outputs of two models on random data."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

from tf_unilth.engines import input_ids, random_inputs, served_model
from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.user_warning import warn_user

_SAMPLES = 4
_FLOAT32 = 1e-5


def check_outputs(model: keras.Model, smaller: keras.Model) -> None:
  """Raises if two models have different outputs.

  They are compared on normal and on uniform random inputs, relative to the
  largest absolute value of each output: within 1e-5 in float32, and within 8
  times the precision of the coarsest type in which a layer computes. A warning
  is given if there is nothing to compare: inputs that cannot be made up, or
  outputs that are random.

  Args:
    model: a Sequential or functional model.
    smaller: another with the same inputs and outputs.

  Raises:
    RuntimeError: the outputs differ.
  """
  tolerance = _tolerance(model)
  for seed in (0, 1):
    try:
      inputs = made_up_inputs(model, seed)
      expected = _outputs(model, inputs)
    except (ValueError, tf.errors.OpError) as error:
      _warn(f'it does not take random inputs: {error}')
      return
    if not seed and any(map(_differs, expected, _outputs(model, inputs))):
      _warn('its outputs are random')
      return
    for name, one, other in zip(
      model.output_names, expected, _outputs(smaller, inputs), strict=True
    ):
      difference = _difference(one, other)
      if not difference <= tolerance:
        raise RuntimeError(
          f'the smaller model is wrong and is not returned: output {name!r} of '
          f'model {model.name!r} differs by {difference:.3g} of its largest '
          f'value, more than {tolerance:.3g}. Please report this model.'
        )


def _warn(reason: str) -> None:
  warn_user(
    f'the outputs of the smaller model are not compared with those of model: '
    f'{reason}.',
  )


def made_up_inputs(model: keras.Model, seed: int) -> Any:
  """Returns random inputs in the structure of a model's inputs.

  Args:
    model: a Sequential or functional model.
    seed: the random seed; floats are uniform in [0, 1) for 1, else normal.

  Raises:
    ValueError: an input is neither a number nor a bool.
  """
  rng = np.random.default_rng(seed)
  ids = input_ids.input_ids(model, model.inputs, served_model.of_model(model))
  values = [
    random_inputs.draw_input(
      _spec(model, tensor), rng, tensor.shape[0] or _SAMPLES, limit, seed == 1
    )
    for tensor, limit in zip(model.inputs, ids, strict=True)
  ]
  return tf.nest.pack_sequence_as(
    model.input,
    [
      tf.convert_to_tensor(v) if isinstance(v, np.ndarray) else v
      for v in values
    ],
  )


def _spec(model: keras.Model, tensor: Any) -> Any:
  """Returns the type of an input, with the sizes that its readers know.

  A Normalization layer knows the sizes of its data, which its input may lack.
  """
  spec = tensor.type_spec
  if not isinstance(spec, tf.TensorSpec) or spec.shape.is_fully_defined():
    return spec
  shape = spec.shape
  for call in model_layers.network_calls(model) or ():
    known = getattr(call.layer, '_build_input_shape', None)
    if any(tensor is read for read in call.inputs) and known is not None:
      known = tf.TensorShape(known)
      if shape.is_compatible_with(known):
        shape = shape.merge_with(known)
  return tf.TensorSpec(shape, spec.dtype)


def _outputs(model: keras.Model, inputs: Any) -> list[np.ndarray]:
  outputs = tf.nest.flatten(model(inputs, training=False))
  return [np.asarray(output) for output in outputs]


def _differs(one: np.ndarray, other: np.ndarray) -> bool:
  return _difference(one, other) > 0


def _difference(one: np.ndarray, other: np.ndarray) -> float:
  """Returns the largest difference, relative to the largest value."""
  one, other = (np.asarray(v, np.float64) for v in (one, other))
  finite = np.isfinite(one)
  if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
    return np.inf
  one, other = one[finite], other[finite]
  largest = np.abs(one).max(initial=0.0)
  difference = np.abs(one - other).max(initial=0.0)
  return 0.0 if not difference else difference / largest if largest else np.inf


def _tolerance(model: keras.Model) -> float:
  """Returns the largest difference that rounding may cause."""
  types = set(_compute_types(model))
  coarsest = max(float(ml_dtypes.finfo(t.as_numpy_dtype).eps) for t in types)
  return max(_FLOAT32, 8 * coarsest)


def _compute_types(model: keras.Model) -> Iterator[tf.DType]:
  yield tf.float32
  for layer in model_layers.flatten_layers(model):
    dtype = layer.compute_dtype and tf.as_dtype(layer.compute_dtype)
    if dtype and dtype.is_floating:
      yield dtype
