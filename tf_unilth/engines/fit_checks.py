"""Checks of callbacks, kernels and losses, for models of either Keras."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.user_warning import warn_user

DENSE_WHEN_STRIPPED = (
  'strip_pruning: the model was wrapped for pruning, but is dense: its '
  'masks have no zeros, and the target sparsity was not met. Train it to '
  'the end with fit and a ticket callback, such as tf_unilth.UniLTH().'
)
_TICKET_LOGS = ('sparsity', 'flops_sparsity', 'stage', 'round', 'l2_lambda')
# Returns advice that may be better than the advice that it is given.
_Advice = Callable[[str], str]


def _same(advice: str) -> str:
  return advice


def check_callbacks(
  ticket_callback: Any, callbacks: Sequence[Any], classes: Any
) -> None:
  """Raises or warns if a callback works against a ticket callback.

  Args:
    ticket_callback: the ticket callback that begins a run.
    callbacks: all callbacks of the `fit`, in order.
    classes: the module `callbacks` of the model's Keras.

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
    if isinstance(other, classes.ModelCheckpoint):
      _check_checkpoint(other)
    if index < position:
      _check_order(name, other, classes)


def _check_checkpoint(checkpoint: Any) -> None:
  if checkpoint.save_best_only and not hasattr(checkpoint, 'waits_for_target'):
    warn_user(
      f'{type(checkpoint).__name__}(save_best_only=True) may keep an epoch '
      'before the target sparsity is reached. tf_unilth.TicketCheckpoint takes '
      'the same arguments and waits for the target.',
    )


def _check_order(name: str, earlier: Any, classes: Any) -> None:
  earlier_name = type(earlier).__name__
  if isinstance(earlier, classes.BackupAndRestore):
    raise ValueError(
      f'callbacks must list {name} before {earlier_name}, but list it '
      'after: the backup would miss its changes at the end of an epoch.'
    )
  if isinstance(earlier, classes.CSVLogger | classes.TensorBoard):
    warn_user(
      f'{earlier_name} is listed before {name}, so its logs lack sparsity, '
      'stage, round and l2_lambda.',
    )


def warn_of_misled_callbacks(
  callbacks: Sequence[Any],
  schedule: Any,
  epochs: int,
  rounds_end: int,
  classes: Any,
) -> None:
  """Warns of callbacks that monitor values which pruning worsens.

  Args:
    callbacks: all callbacks of the `fit`.
    schedule: the learning-rate schedule, `None` if the rate is a number.
    epochs: the number of epochs of the run.
    rounds_end: the (0-based) epoch by which the last round has ended.
    classes: the module `callbacks` of the model's Keras.
  """
  for callback in callbacks:
    name = type(callback).__name__
    if isinstance(callback, classes.EarlyStopping):
      _warn_of_early_stopping(callback, epochs, rounds_end)
    elif isinstance(
      callback, classes.ReduceLROnPlateau | classes.LearningRateScheduler
    ):
      if schedule is not None:
        warn_user(
          f'{name} does nothing: the learning rate is a '
          f'{type(schedule).__name__}, which it cannot change.',
        )
      elif getattr(callback, 'patience', epochs) < epochs:
        warn_user(
          f'{name} monitors {callback.monitor!r}, which pruning worsens: it '
          'may lower the learning rate too far for finetuning. Use a '
          'tf_unilth.StagedLearningRate instead.',
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
  warn_user(
    f'{type(callback).__name__} monitors {callback.monitor!r}, which pruning '
    'worsens: fit may end before the target sparsity. Use '
    'tf_unilth.TicketEarlyStopping, which waits for the last round, or '
    f'start_from_epoch={rounds_end}.',
  )


def check_not_frozen(
  frozen: Sequence[str], are_all: bool, must_train: bool = True
) -> None:
  """Raises if all kernels are frozen, and warns if some are.

  Args:
    frozen: the names of the frozen kernels.
    are_all: whether they are all kernels.
    must_train: whether they need to be trained; if not, it only warns.

  Raises:
    ValueError: all are frozen, and `must_train` is true.
  """
  if frozen and are_all and must_train:
    raise ValueError(
      'all wrapped layers are frozen (trainable=False) and cannot be trained: '
      f'{_join_names(frozen)}. Set trainable=True and compile again, wrap '
      'trainable layers, or keep the zeros of frozen layers with a '
      'tf_unilth.FixedMask.'
    )
  if frozen:
    warn_user(
      f'frozen layers (trainable=False) are pruned without being trained: '
      f'{_join_names(frozen)}.',
    )


def _join_names(names: Sequence[str]) -> str:
  text = ', '.join(repr(name) for name in names[:5])
  return text if len(names) <= 5 else f'{text} and {len(names) - 5} more'


def warn_of_open_mask(name: str, mask: np.ndarray, zeros: int) -> None:
  """Warns of the mask of a `FixedMask` that is empty or leaves zeros open.

  Args:
    name: the name of the kernel.
    mask: its mask, True where a weight is kept.
    zeros: the number of weights that are 0 and not pruned.
  """
  if not mask.any():
    warn_user(
      f'FixedMask of layer {name!r} masks all weights of a kernel: it will '
      'never train.',
    )
  if zeros:
    warn_user(
      f'FixedMask of layer {name!r} does not mask {zeros} of its zeros: load '
      'the weights before wrapping the model.',
    )


def check_kernels(
  kernels: Sequence[Any],
  weights: Sequence[np.ndarray],
  advise: _Advice = _same,
) -> None:
  """Raises if a kernel has a weight that is NaN or infinite.

  Args:
    kernels: the kernels.
    weights: their values.
    advise: returns the advice for the message.

  Raises:
    FloatingPointError: a weight is not finite.
  """
  for kernel, weight in zip(kernels, weights, strict=True):
    if not np.isfinite(weight).all():
      raise FloatingPointError(
        f'layer {kernel.name!r} has NaN or infinite weights: training has '
        'diverged, and no mask is computed from them. '
        f'{advise("Try a lower learning rate.")}'
      )


def not_finite(
  kind: str, name: str, advise: _Advice = _same
) -> FloatingPointError:
  """Returns the error for a variable that is NaN or infinite."""
  return FloatingPointError(
    f'{kind} {name!r} is NaN or infinite: training has diverged. '
    f'{advise("Try a lower learning rate.")}'
  )


def check_losses(logs: Mapping[str, Any], advise: _Advice = _same) -> None:
  """Raises if a loss of an epoch is not finite.

  Args:
    logs: the logs of an epoch.
    advise: returns the advice for the message.

  Raises:
    FloatingPointError: a loss is NaN or infinite.
  """
  for name in ('loss', 'val_loss'):
    if not np.isfinite(logs.get(name, 0.0)):
      raise FloatingPointError(
        f'{name} is {logs[name]}, but all weights are finite. '
        f'{advise("Check the loss function.")}'
      )
