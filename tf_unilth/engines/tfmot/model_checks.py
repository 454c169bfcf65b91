"""Checks of a tf_keras model around a ticket callback."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.engines import fit_checks
from tf_unilth.engines.tfmot import (
  data_handler,
  optimizer_search,
  optimizer_traits,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


def check_compiled(model: keras.Model) -> None:
  """Raises if a model was compiled with options that break a ticket.

  Args:
    model: any model.

  Raises:
    ValueError: the model has no optimizer, an optimizer has `use_ema`, or
      `jit_compile` is on under several replicas.
  """
  optimizer = getattr(model, 'optimizer', None)
  if optimizer is None:
    raise ValueError(
      'optimizer of the model must be set, but is None: compile the model, '
      'also for a custom training loop.'
    )
  if any(
    getattr(optimizer_traits.inner(optimizer), 'use_ema', False)
    for optimizer in optimizer_search.reachable(model)
  ):
    raise ValueError(
      'use_ema of the optimizer must be False, but is True: at the end of '
      'fit it would overwrite sparse weights with dense averages.'
    )
  replicas = model.distribute_strategy.num_replicas_in_sync
  if replicas > 1 and model.jit_compile:
    raise ValueError(
      f'jit_compile must be False under {replicas} replicas, but is True: '
      'TensorFlow cannot compile a training step for several devices.'
    )


def check_not_frozen(layers: PrunedLayers, ramps: bool = True) -> None:
  """Raises if all wrapped layers are frozen, and warns if some are.

  Args:
    layers: the wrapped layers.
    ramps: whether they need to be trained; if not, it only warns.

  Raises:
    ValueError: all are frozen, and `ramps` is true.
  """
  trainable = layers.trainable()
  names = [
    kernel.name
    for index, kernel in enumerate(layers.kernels)
    if index not in trainable and kernel.is_counted
  ]
  fit_checks.check_not_frozen(names, not trainable, ramps)


def check_kernels(layers: PrunedLayers) -> None:
  """Raises a `FloatingPointError` if a wrapped weight is NaN or infinite."""
  fit_checks.check_kernels(layers.kernels, layers.read_weights(), _blame_data)


def check_finite(model: keras.Model, logs: Mapping[str, Any]) -> None:
  """Raises if a weight, an optimizer slot or a loss is not finite.

  A NaN weight does not always make the loss NaN, so all are checked.

  Args:
    model: a compiled model.
    logs: the logs of an epoch, or `{}`.

  Raises:
    FloatingPointError: a value is not finite.
  """
  for kind, variables in (
    ('weight', model.weights),
    *(
      ('optimizer slot', optimizer.variables())
      for optimizer in optimizer_search.reachable(model)
    ),
  ):
    for variable in variables:
      if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
        raise fit_checks.not_finite(kind, variable.name, _blame_data)
  fit_checks.check_losses(logs, _blame_data)


def _blame_data(otherwise: str) -> str:
  """Returns advice: the first batch of the `fit` with NaN, or `otherwise`."""
  for batch, tensors in enumerate(data_handler.batches_of_fit()):
    for tensor, values in enumerate(tensors):
      finite = np.isfinite(values) if values.dtype.kind in 'fc' else True
      if not np.all(finite):
        return (
          f'The data are not finite: see batch {batch} of an epoch, tensor '
          f'{tensor}, of shape {values.shape}.'
        )
  return otherwise
