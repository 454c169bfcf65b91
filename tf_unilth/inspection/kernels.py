"""The kernels of a model, with their values and masks."""

import dataclasses
from typing import Any

import numpy as np

from tf_unilth.engines import engine_choice, model_access, which_keras


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


def read_kernels(model: Any) -> tuple[KernelValues, ...]:
  """Returns the kernels that `tf_unilth.sparsity_summary` counts.

  Args:
    model: a built Keras model, prepared for pruning or not.

  Returns:
    The kernels that are prepared for pruning; if there are none, those that
    `prune_low_magnitude` would prepare.

  Raises:
    TypeError: `model` is not a Keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='head')]
  >>> model = keras.Sequential(layers)
  >>> [(k.name, k.values.shape, k.mask) for k in read_kernels(model)]
  [('head', (3, 2), None)]
  """
  engine_choice.check_keras(model, 'model', 'Model')
  if which_keras.is_keras_3(model):
    return _of_keras_3(model)
  # Only here, because Keras 3 may not need TensorFlow.
  from tf_unilth.engines.tfmot import prunable_weights, pruned_model

  wrapped = tuple(
    KernelValues(k.name, k.weight.numpy(), k.mask.numpy() != 0)
    for k in pruned_model.PrunedLayers(model).kernels
    if k.is_counted
  )
  return wrapped or tuple(
    KernelValues(name, weight.numpy())
    for name, weight in prunable_weights.model_kernels(model)
  )


def _of_keras_3(model: Any) -> tuple[KernelValues, ...]:
  access = model_access.of_model(model)
  kernels, masks = access.kernels, access.masks
  planned = [kernel for kernel in kernels if kernel.key in masks]
  return tuple(
    KernelValues(kernel.name, access.read(kernel), masks.get(kernel.key))
    for kernel in planned or kernels
  )
