"""The weights that go with a layer's channels, but are not counted."""

from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras

# A unit outputs zero only if all of these are zero. A layer without kernels,
# such as BatchNormalization, has companions alone.
NAMES = ('depthwise_kernel', 'gamma', 'beta', 'bias')


def companions(layer: keras.layers.Layer) -> list[Any]:
  """Returns the weights that are zero with a unit, besides the kernels.

  Args:
    layer: a built layer.

  Returns:
    The float32 variables of biases, gammas, betas and depthwise kernels.

  >>> layer = keras.layers.BatchNormalization()
  >>> layer.build((None, 3))
  >>> [weight.name for weight in companions(layer)]
  ['gamma:0', 'beta:0']
  """
  own = (
    prunable_weights.unwrap_autocast(getattr(layer, name, None))
    for name in NAMES
  )
  return [weight for weight in own if isinstance(weight, tf.Variable)]
