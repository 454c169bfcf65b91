"""What could silently undo the pruning is refused before it can."""

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

_OWN_LOGS = ('sparsity', 'stage', 'round', 'l2_lambda')
_WRITERS = (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


def check_callbacks(
  ticket_callback: Any, callbacks: Sequence[Any], base: type
) -> None:
  """Raises or warns about callbacks that work against a ticket callback.

  Args:
    ticket_callback: ours.
    callbacks: all callbacks of the `fit`, in order.
    base: the class of ticket callbacks.
  """
  name = type(ticket_callback).__name__
  position = callbacks.index(ticket_callback)
  for index, other in enumerate(callbacks):
    other_name = type(other).__name__
    if isinstance(other, base) and index != position:
      raise ValueError(
        'callbacks must hold one ticket callback, but hold '
        f'{name} and {other_name}.'
      )
    if getattr(other, 'restore_best_weights', False) and not hasattr(
      other, 'waits_for_target'
    ):
      raise ValueError(
        f'restore_best_weights of {other_name} must be False, but is True: '
        'it would put denser weights and masks back. tf_unilth.'
        'TicketEarlyStopping restores the best epoch at the target sparsity.'
      )
    if isinstance(other, keras.callbacks.ModelCheckpoint):
      _check_checkpoint(other)
    if index < position:
      _check_order(name, other)


def _check_checkpoint(checkpoint: keras.callbacks.ModelCheckpoint) -> None:
  if checkpoint.save_best_only and not hasattr(checkpoint, 'waits_for_target'):
    warnings.warn(
      f'{type(checkpoint).__name__}(save_best_only=True) keeps the best '
      'epoch even where it is not yet at the target sparsity. tf_unilth.'
      'TicketCheckpoint takes the same arguments and waits for the target.',
      stacklevel=2,
    )


def _check_order(name: str, earlier: Any) -> None:
  earlier_name = type(earlier).__name__
  if isinstance(earlier, keras.callbacks.BackupAndRestore):
    raise ValueError(
      f'callbacks must list {name} before {earlier_name}, but list it '
      'after: the backup would miss what happens at the end of its epoch.'
    )
  if isinstance(earlier, _WRITERS):
    warnings.warn(
      f'{earlier_name} is listed before {name} and will not see sparsity, '
      'stage, round and l2_lambda.',
      stacklevel=2,
    )


def warn_of_misled(
  callbacks: Sequence[Any], optimizer: Any, epochs: int, last_cut: int
) -> None:
  """Warns of callbacks that take what the cuts do for the end of learning.

  Args:
    callbacks: all callbacks of the `fit`.
    optimizer: the one that trains the wrapped layers.
    epochs: of the run.
    last_cut: the epoch, from 0, by which the last round is over.
  """
  schedule = optimizer_traits.learning_rate_schedule(optimizer)
  for callback in callbacks:
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.EarlyStopping):
      _warn_of_early_stopping(callback, epochs, last_cut)
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
          f'{name} monitors {callback.monitor!r}, which the cuts worsen: it '
          'may lower the learning rate so often that little is left to '
          'finetune with. Use a tf_unilth.StagedLearningRate instead.',
          stacklevel=2,
        )


def _warn_of_early_stopping(callback: Any, epochs: int, last_cut: int) -> None:
  begins = getattr(callback, 'start_from_epoch', 0)
  if (
    hasattr(callback, 'waits_for_target')
    or callback.monitor in _OWN_LOGS
    or callback.patience >= epochs
    or begins >= last_cut
  ):
    return
  warnings.warn(
    f'{type(callback).__name__} monitors {callback.monitor!r}, which the cuts '
    'worsen: fit may end before its target sparsity. Use '
    'tf_unilth.TicketEarlyStopping, which waits for the last round, or '
    f'start_from_epoch={last_cut}.',
    stacklevel=2,
  )


def check_loop(params: dict[str, Any] | None) -> None:
  """Raises if a training loop does not tell its length, as `fit` does."""
  if not params or 'epochs' not in params:
    raise ValueError(
      'epochs of the training loop must be told before on_train_begin: put the '
      'callback into a keras.callbacks.CallbackList([...], model=model, '
      'epochs=..., steps=...), or call set_params.'
    )
  params.setdefault('steps', None)


def check_compiled(model: keras.Model) -> None:
  """Raises if what the model was compiled with cannot train a ticket."""
  optimizer = getattr(model, 'optimizer', None)
  if optimizer is None:
    raise ValueError(
      'optimizer of the model must be set, but is None: compile the model, '
      'also where a training loop of your own applies it.'
    )
  if any(
    getattr(optimizer_traits.inner(one), 'use_ema', False)
    for one in optimizer_search.reachable(model)
  ):
    raise ValueError(
      'use_ema of the optimizer must be False, but is True: at the end of '
      'fit it would overwrite sparse weights with dense averages.'
    )
  replicas = model.distribute_strategy.num_replicas_in_sync
  if replicas > 1 and model.jit_compile:
    raise ValueError(
      f'jit_compile must be False under {replicas} replicas, but is True: '
      'TensorFlow cannot compile a step over several devices.'
    )


def check_not_frozen(layers: PrunedLayers, ramps: bool = True) -> None:
  """Raises or warns where wrapped layers are frozen, so that nothing trains.

  Args:
    layers: the wrapped layers.
    ramps: whether a penalty is to act on them.
  """
  trainable = layers.trainable()
  names = [k.name for i, k in enumerate(layers.kernels) if i not in trainable]
  if names and not trainable and ramps:
    raise ValueError(
      'all wrapped layers are frozen (trainable=False), so that they cannot be '
      f'trained for a ticket: {_listed(names)}. Set trainable=True and compile '
      'again, wrap layers that are trained, or hold their zeros with a '
      'tf_unilth.FixedMask.'
    )
  if names:
    warnings.warn(
      f'frozen layers (trainable=False) are pruned without being trained: '
      f'{_listed(names)}.',
      stacklevel=2,
    )


def _listed(names: Sequence[str]) -> str:
  shown = ', '.join(repr(name) for name in names[:5])
  return shown if len(names) <= 5 else f'{shown} and {len(names) - 5} more'


def check_kernels(layers: PrunedLayers) -> None:
  """Raises if a wrapped weight is NaN or infinite."""
  for kernel, weight in zip(layers.kernels, layers.read_weights(), strict=True):
    if not np.isfinite(weight).all():
      raise FloatingPointError(
        f'layer {kernel.name!r} has NaN or infinite weights: training has '
        'diverged, and no mask is made of them. '
        f'{_blame_data("Try a lower learning rate.")}'
      )


def check_finite(model: keras.Model, logs: Mapping[str, Any]) -> None:
  """Raises if a weight, a slot of the optimizer or a loss is not finite.

  A NaN weight need not make the loss NaN, so all are looked at.

  Args:
    model: a compiled model.
    logs: of an epoch, or `{}`.
  """
  for what, variables in (
    ('weight', model.weights),
    *(
      ('slot of the optimizer', optimizer.variables())
      for optimizer in optimizer_search.reachable(model)
    ),
  ):
    for variable in variables:
      if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
        raise FloatingPointError(
          f'{what} {variable.name!r} is NaN or infinite: training has '
          f'diverged. {_blame_data("Try a lower learning rate.")}'
        )
  for name in ('loss', 'val_loss'):
    if not np.isfinite(logs.get(name, 0.0)):
      raise FloatingPointError(
        f'{name} is {logs[name]}, though all weights are finite. '
        f'{_blame_data("Look at the loss.")}'
      )


def _blame_data(otherwise: str) -> str:
  """Returns what the data of the `fit` have to do with it."""
  for batch, tensors in enumerate(data_handler.batches_of_fit()):
    for tensor, values in enumerate(tensors):
      finite = np.isfinite(values) if values.dtype.kind in 'fc' else True
      if not np.all(finite):
        return (
          f'The data are not finite: look at batch {batch} of an epoch, tensor '
          f'{tensor}, of shape {values.shape}.'
        )
  return otherwise
