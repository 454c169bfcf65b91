"""What could silently undo the pruning is refused before it can."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth import compat, optimizers, tracking
from tf_unilth.compat import keras
from tf_unilth.pruned_layers import PrunedLayers

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
    if getattr(other, 'restore_best_weights', False):
      raise ValueError(
        f'restore_best_weights of {other_name} must be False, but is True: '
        'it would put denser weights and masks back. tf_unilth.'
        'TicketCheckpoint keeps the best epoch at the target sparsity.'
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
  if getattr(optimizers.inner(optimizer), 'use_ema', False):
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


def check_kernels(layers: PrunedLayers) -> None:
  """Raises if a wrapped weight is NaN or infinite."""
  for kernel, weight in zip(layers.kernels, layers.read_weights(), strict=True):
    if not np.isfinite(weight).all():
      raise FloatingPointError(
        f'layer {kernel.name!r} has NaN or infinite weights: training has '
        'diverged, and no mask is made of them. '
        f'{_cause("Try a lower learning rate.")}'
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
    (
      'slot of the optimizer',
      [
        slot
        for optimizer in tracking.compiled_optimizers(model)
        for slot in optimizer.variables()
      ],
    ),
  ):
    for variable in variables:
      if variable.dtype.is_floating and not np.isfinite(variable.numpy()).all():
        raise FloatingPointError(
          f'{what} {variable.name!r} is NaN or infinite: training has '
          f'diverged. {_cause("Try a lower learning rate.")}'
        )
  for name in ('loss', 'val_loss'):
    if not np.isfinite(logs.get(name, 0.0)):
      raise FloatingPointError(
        f'{name} is {logs[name]}, though all weights are finite. '
        f'{_cause("Look at the loss.")}'
      )


def _cause(otherwise: str) -> str:
  """Returns what the data of the `fit` have to do with it."""
  for batch, tensors in enumerate(compat.batches_of_fit()):
    for tensor, values in enumerate(tensors):
      finite = np.isfinite(values) if values.dtype.kind in 'fc' else True
      if not np.all(finite):
        return (
          f'The data are not finite: look at batch {batch} of an epoch, tensor '
          f'{tensor}, of shape {values.shape}.'
        )
  return otherwise
