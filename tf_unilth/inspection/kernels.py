"""The kernels of a model, with their values and masks."""

import dataclasses

import numpy as np
import tf_keras as keras

from tf_unilth.engines.tfmot import keras_3_errors, prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


@dataclasses.dataclass(frozen=True)
class KernelValues:
  """The values of one kernel.

  Args:
    name: the name of the kernel.
    values: a copy of its weights, as stored.
    mask: True where a weight is kept; `None` if the kernel is not wrapped.
  """

  name: str
  values: np.ndarray
  mask: np.ndarray | None = None


def read_kernels(model: keras.Model) -> tuple[KernelValues, ...]:
  """Returns the kernels that `tf_unilth.sparsity_summary` counts.

  Args:
    model: a built tf_keras model, wrapped or not.

  Returns:
    The wrapped kernels; if there are none, those that pruning would wrap.

  Raises:
    TypeError: `model` is not a tf_keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='head')]
  >>> model = keras.Sequential(layers)
  >>> [(k.name, k.values.shape, k.mask) for k in read_kernels(model)]
  [('head', (3, 2), None)]
  """
  keras_3_errors.check_keras(model, 'model', keras.Model)
  wrapped = tuple(
    KernelValues(k.name, k.weight.numpy(), k.mask.numpy() != 0)
    for k in PrunedLayers(model).kernels
    if k.is_counted
  )
  return wrapped or tuple(
    KernelValues(name, weight.numpy())
    for name, weight in prunable_weights.model_kernels(model)
  )
