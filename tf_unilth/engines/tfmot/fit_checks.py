"""Checks of model, callbacks and training loop around a ticket callback."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import (
  data_handler,
  optimizer_search,
  optimizer_traits,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

_TICKET_LOGS = ('sparsity', 'stage', 'round', 'l2_lambda')
_LOG_WRITERS = (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


def check_callbacks(ticket_callback: Any, callbacks: Sequence[Any]) -> None:
  """Raises or warns if a callback works against a ticket callback.

  Args:
    ticket_callback: the ticket callback that begins a run.
    callbacks: all callbacks of the `fit`, in order.

  Raises:
    ValueError: there is another ticket callback, one that restores dense
      weights, or a backup before the ticket callback.
  """
  name = type(ticket_callback).__name__
  position = callbacks.index(ticket_callback)
  for index, other in enumerate(callbacks):
    other_name = type(other).__name__
    if getattr(other, 'is_ticket_callback', False) and index != position:
      raise ValueError(
        'callbacks must contain only one ticket callback, but contain '
        f'{name} and {other_name}.'
      )
    if getattr(other, 'restore_best_weights', False) and not hasattr(
      other, 'waits_for_target'
    ):
      raise ValueError(
        f'restore_best_weights of {other_name} must be False, but is True: '
        'it would restore denser weights and masks. '
        'tf_unilth.TicketEarlyStopping restores the best epoch at the target '
        'sparsity.'
      )
    if isinstance(other, keras.callbacks.ModelCheckpoint):
      _check_checkpoint(other)
    if index < position:
      _check_order(name, other)


def _check_checkpoint(checkpoint: keras.callbacks.ModelCheckpoint) -> None:
  if checkpoint.save_best_only and not hasattr(checkpoint, 'waits_for_target'):
    warnings.warn(
      f'{type(checkpoint).__name__}(save_best_only=True) may keep an epoch '
      'before the target sparsity is reached. tf_unilth.TicketCheckpoint takes '
      'the same arguments and waits for the target.',
      stacklevel=2,
    )


def _check_order(name: str, earlier: Any) -> None:
  earlier_name = type(earlier).__name__
  if isinstance(earlier, keras.callbacks.BackupAndRestore):
    raise ValueError(
      f'callbacks must list {name} before {earlier_name}, but list it '
      'after: the backup would miss its changes at the end of an epoch.'
    )
  if isinstance(earlier, _LOG_WRITERS):
    warnings.warn(
      f'{earlier_name} is listed before {name}, so its logs lack sparsity, '
      'stage, round and l2_lambda.',
      stacklevel=2,
    )


def warn_of_misled_callbacks(
  callbacks: Sequence[Any], optimizer: Any, epochs: int, rounds_end: int
) -> None:
  """Warns of callbacks that monitor values which pruning worsens.

  Args:
    callbacks: all callbacks of the `fit`.
    optimizer: the optimizer that trains the wrapped layers.
    epochs: the number of epochs of the run.
    rounds_end: the (0-based) epoch by which the last round has ended.
  """
  schedule = optimizer_traits.learning_rate_schedule(optimizer)
  for callback in callbacks:
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.EarlyStopping):
      _warn_of_early_stopping(callback, epochs, rounds_end)
    elif isinstance(
      callback,
      keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler,
    ):
      if schedule is not None:
        warnings.warn(
          f'{name} does nothing: the learning rate is a '
          f'{type(schedule).__name__}, which it cannot change.',
          stacklevel=2,
        )
      elif getattr(callback, 'patience', epochs) < epochs:
        warnings.warn(
          f'{name} monitors {callback.monitor!r}, which pruning worsens: it '
          'may lower the learning rate too far for finetuning. Use a '
          'tf_unilth.StagedLearningRate instead.',
          stacklevel=2,
        )


def _warn_of_early_stopping(
  callback: Any, epochs: int, rounds_end: int
) -> None:
  begins = getattr(callback, 'start_from_epoch', 0)
  if (
    hasattr(callback, 'waits_for_target')
    or callback.monitor in _TICKET_LOGS
    or callback.patience >= epochs
    or begins >= rounds_end
  ):
    return
  warnings.warn(
    f'{type(callback).__name__} monitors {callback.monitor!r}, which pruning '
    'worsens: fit may end before the target sparsity. Use '
    'tf_unilth.TicketEarlyStopping, which waits for the last round, or '
    f'start_from_epoch={rounds_end}.',
    stacklevel=2,
  )


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
  names = [k.name for i, k in enumerate(layers.kernels) if i not in trainable]
  if names and not trainable and ramps:
    raise ValueError(
      'all wrapped layers are frozen (trainable=False) and cannot be trained: '
      f'{_join_names(names)}. Set trainable=True and compile again, wrap '
      'trainable layers, or keep the zeros of frozen layers with a '
      'tf_unilth.FixedMask.'
    )
  if names:
    warnings.warn(
      f'frozen layers (trainable=False) are pruned without being trained: '
      f'{_join_names(names)}.',
      stacklevel=2,
    )


def _join_names(names: Sequence[str]) -> str:
  text = ', '.join(repr(name) for name in names[:5])
  return text if len(names) <= 5 else f'{text} and {len(names) - 5} more'


def check_kernels(layers: PrunedLayers) -> None:
  """Raises if a wrapped weight is NaN or infinite.

  Args:
    layers: the wrapped layers.

  Raises:
    FloatingPointError: a weight is not finite.
  """
  for kernel, weight in zip(layers.kernels, layers.read_weights(), strict=True):
    if not np.isfinite(weight).all():
      raise FloatingPointError(
        f'layer {kernel.name!r} has NaN or infinite weights: training has '
        'diverged, and no mask is computed from them. '
        f'{_blame_data("Try a lower learning rate.")}'
      )


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
        raise FloatingPointError(
          f'{kind} {variable.name!r} is NaN or infinite: training has '
          f'diverged. {_blame_data("Try a lower learning rate.")}'
        )
  for name in ('loss', 'val_loss'):
    if not np.isfinite(logs.get(name, 0.0)):
      raise FloatingPointError(
        f'{name} is {logs[name]}, but all weights are finite. '
        f'{_blame_data("Check the loss function.")}'
      )


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
