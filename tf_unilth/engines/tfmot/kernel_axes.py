"""Where the inputs of a kernel lie: what N:M sparsity groups its weights by."""

from typing import Any

from tf_unilth.engines.tfmot import model_layers, prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras

_OUTPUTS_FIRST = (
  keras.layers.Conv1DTranspose,
  keras.layers.Conv2DTranspose,
  keras.layers.Conv3DTranspose,
)


def input_axis(layer: keras.layers.Layer, weight: Any) -> int:
  """Returns the axis of a kernel that is summed over, the innermost of them.

  Args:
    layer: the layer that has the kernel, itself or in a layer inside, as
      `MultiHeadAttention` has. Built.
    weight: the kernel.

  Returns:
    The axis, negative: -2 for the [..., inputs, outputs] of most layers.

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
      return _summed_axis(inner.equation)
  return -2


def _summed_axis(equation: str) -> int:
  """Returns the innermost summed axis of an einsum's second operand."""
  operands, _, result = equation.partition('->')
  kernel = operands.split(',')[1].strip()
  summed = [i for i, label in enumerate(kernel) if label not in result]
  return summed[-1] - len(kernel) if summed else -2
