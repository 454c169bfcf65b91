"""Creates the weights of a layer that creates them in its first call."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.keras_access import keras


def create_weights(
  layer: keras.layers.Layer, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
  """Creates a layer's weights by tracing a call.

  Args:
    layer: the layer.
    args: the positional arguments of the call.
    kwargs: its keyword arguments.
  """

  @tf.function(autograph=False)
  def call(args: Any, kwargs: Any) -> Any:
    return layer(*args, **kwargs)

  call.get_concrete_function(*tf.nest.map_structure(_spec, (args, kwargs)))


def _spec(value: Any) -> Any:
  if isinstance(value, keras.__internal__.KerasTensor):
    return value.type_spec
  if isinstance(value, np.ndarray):
    value = tf.convert_to_tensor(value)
  return tf.type_spec_from_value(value) if tf.is_tensor(value) else value
