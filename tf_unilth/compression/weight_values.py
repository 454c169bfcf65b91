"""WeightValues: the weights of a model as arrays, with their masks applied."""

from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


class WeightValues:
  """Reads weights as a stripped model would have them.

  The weights themselves are not changed.

  Args:
    model: a tf_keras model, wrapped or not.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> WeightValues(model).of(model.layers[0], 'bias')
  array([0., 0.], dtype=float32)
  """

  def __init__(self, model: keras.Model):
    self._masks = {
      id(kernel.weight): kernel.mask for kernel in PrunedLayers(model).kernels
    }

  def read(self, weight: Any) -> np.ndarray:
    """Returns the value of a weight.

    Args:
      weight: the variable.
    """
    value = weight.numpy()
    mask = self._masks.get(id(prunable_weights.unwrap_autocast(weight)))
    if mask is None:
      return value
    return np.where(mask.numpy() == 0, np.zeros_like(value), value)

  def of(self, layer: Any, name: str) -> np.ndarray | None:
    """Returns the value of a layer's weight; `None` if it has none.

    Args:
      layer: the layer; of a wrapped layer the inner one.
      name: the attribute with the weight.
    """
    weight = getattr(layer, name, None)
    return None if weight is None else self.read(weight)
