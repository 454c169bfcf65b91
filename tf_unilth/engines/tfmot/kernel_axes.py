"""The input axis of a kernel, along which N:M sparsity groups the weights."""

from typing import Any

from tf_unilth.engines.einsum_axis import summed_axis
from tf_unilth.engines.tfmot import model_layers, prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras

_OUTPUTS_FIRST = (
  keras.layers.Conv1DTranspose,
  keras.layers.Conv2DTranspose,
  keras.layers.Conv3DTranspose,
)


def input_axis(layer: keras.layers.Layer, weight: Any) -> int:
  """Returns the innermost axis of a kernel that the layer sums over.

  Args:
    layer: the built layer with the kernel, which may belong to a layer inside,
      as in `MultiHeadAttention`.
    weight: the kernel.

  Returns:
    A negative axis: -2 for the shape [..., inputs, outputs] of most layers.

  >>> layer = keras.layers.Conv2DTranspose(5, 3)
  >>> layer.build((None, 8, 8, 4))
  >>> layer.kernel.shape.as_list(), input_axis(layer, layer.kernel)
  ([3, 3, 5, 4], -1)
  """
  for inner in [layer, *model_layers.flatten_layers(layer)]:
    kernel = prunable_weights.unwrap_autocast(getattr(inner, 'kernel', None))
    if kernel is not prunable_weights.unwrap_autocast(weight):
      continue
    if isinstance(inner, _OUTPUTS_FIRST):
      return -1
    if isinstance(inner, keras.layers.EinsumDense):
      return summed_axis(inner.equation)
  return -2
