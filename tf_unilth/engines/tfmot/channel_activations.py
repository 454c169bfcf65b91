"""Which activation functions work on each value by itself."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot.keras_access import keras

layers, functions = keras.layers, keras.activations

# Others, such as softmax, may read all channels of a position.
_ELEMENTWISE: tuple[Callable[..., Any], ...] = (
  *(functions.elu, functions.exponential, functions.gelu),
  *(functions.hard_sigmoid, functions.linear, functions.mish, functions.relu),
  *(functions.selu, functions.sigmoid, functions.softplus, functions.softsign),
  *(functions.swish, functions.tanh),
  *(tf.nn.relu, tf.nn.relu6, tf.nn.elu, tf.nn.selu, tf.nn.gelu, tf.nn.silu),
  *(tf.nn.leaky_relu, tf.nn.softplus, tf.nn.tanh, tf.nn.sigmoid, tf.tanh),
  *(tf.sigmoid, tf.math.tanh, tf.math.sigmoid, tf.nn.softsign),
)
_LAYERS = (
  *(layers.ReLU, layers.LeakyReLU, layers.ELU, layers.ThresholdedReLU),
)


def elementwise(activation: Any) -> Callable[[Any], Any] | None:
  """Returns an activation on tensors, or `None` if it is not elementwise.

  Args:
    activation: a function, a layer, or `None` for the identity.

  >>> elementwise(keras.activations.relu)(tf.constant([-1.0, 2.0])).numpy()
  array([0., 2.], dtype=float32)
  >>> elementwise(keras.activations.softmax)
  """
  if activation is None:
    return functions.linear
  if type(activation) in _LAYERS:
    return activation.call
  if type(activation) is layers.Activation:
    return elementwise(activation.activation)
  known = any(activation is function for function in _ELEMENTWISE)
  return activation if known else None


def is_linear(activation: Any) -> bool:
  """Returns whether an activation is the identity.

  Args:
    activation: a function, a layer, or `None`.
  """
  return activation is None or activation is functions.linear
