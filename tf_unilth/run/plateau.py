"""Decides when stage 1 ends, and to which epoch it is rewound."""

import dataclasses
from collections.abc import Callable, Sequence

from tf_unilth.argument_checks import (
  check_float,
  check_int,
  check_option,
  check_str,
)
from tf_unilth.run import budget
from tf_unilth.run.run_state import RunState
from tf_unilth.run.snapshot import Snapshot
from tf_unilth.wording import count


@dataclasses.dataclass(frozen=True)
class Plateau:
  """Decides when stage 1 ends and how far it is rewound.

  It ends with the first epoch at which `monitor` has not fallen by `min_delta`
  for `patience` epochs.

  Args:
    monitor: a name in the epoch logs.
    mode: `'min'`, `'max'` or `'auto'`, as in Keras's `EarlyStopping`.
    patience: the number of epochs, at least 1; `None` disables the plateau.
    min_delta: the smallest change that counts, at least 0.
    rewind_epochs: the number of epochs to go back from the plateau, at least 0;
      `None` rewinds to the epoch at which `monitor` was lowest.
    max_dense_fraction: the largest share of the epochs for stage 1, in (0, 1);
      `None` for the default of `budget.dense_epochs`.

  Raises:
    ValueError: an argument is out of its range.
  """

  monitor: str = 'val_loss'
  mode: str = 'auto'
  patience: int | None = 2
  min_delta: float = 0.0
  rewind_epochs: int | None = None
  max_dense_fraction: float | None = None

  def __post_init__(self):
    checked = {
      'monitor': check_str('monitor', self.monitor),
      'mode': check_option('mode', self.mode, ('auto', 'min', 'max')),
      'patience': check_int('patience', self.patience, 1, none=True),
      'min_delta': check_float('min_delta', self.min_delta, '[0, inf)'),
      'rewind_epochs': check_int(
        'rewind_epochs', self.rewind_epochs, 0, none=True
      ),
      'max_dense_fraction': check_float(
        'max_dense_fraction', self.max_dense_fraction, '(0, 1)', none=True
      ),
    }
    for name, value in checked.items():
      object.__setattr__(self, name, value)

  def dense_epochs(self, epochs: int) -> int:
    """Returns the largest number of epochs that stage 1 may take.

    Args:
      epochs: the epochs of the run, at least 3.
    """
    return budget.dense_epochs(epochs, self.patience, self.max_dense_fraction)

  @property
  def snapshots(self) -> int:
    """The number of snapshots that a rewind needs at the same time."""
    if self.patience is None:
      return 0
    return 1 if self.rewind_epochs is None else self.rewind_epochs

  def watch(
    self,
    state: RunState,
    epoch: int,
    value: float,
    read: Callable[[], Sequence[bytes]],
  ) -> bool:
    """Updates the counters after an epoch; returns whether it is a plateau.

    Args:
      state: the state of the run, with the counters and snapshots.
      epoch: the number of completed epochs.
      value: the monitored value at the end of the epoch.
      read: returns the values for a snapshot.
    """
    if self.patience is None:
      return False
    signed = -value if self._is_max() else value
    if signed < state.lowest:
      state.lowest = signed
      if self.rewind_epochs is None:
        state.snapshots[0].take(read(), epoch)
    if signed < state.best - self.min_delta:
      state.best, state.best_epoch = signed, epoch
    return epoch - state.best_epoch >= self.patience

  def keep(
    self, state: RunState, epoch: int, read: Callable[[], Sequence[bytes]]
  ) -> None:
    """Takes a snapshot at the start and after each epoch, for `rewind_epochs`.

    The snapshots of the last `rewind_epochs` epochs are kept.

    Args:
      state: the state of the run, with the snapshots.
      epoch: the number of completed epochs.
      read: returns the values for a snapshot.
    """
    if self.patience is not None and self.rewind_epochs:
      slot = epoch % self.rewind_epochs
      state.snapshots[slot].take(read(), epoch)

  def rewinds_to(self, state: RunState, epoch: int) -> Snapshot | None:
    """Returns the snapshot to rewind to from a plateau, `None` for no rewind.

    Args:
      state: the state of the run, with the snapshots.
      epoch: the number of completed epochs at the plateau.
    """
    if self.rewind_epochs == 0:
      return None
    if self.rewind_epochs is None:
      return state.snapshots[0]
    # Do not rewind beyond the start of the run.
    target = max(epoch - self.rewind_epochs, state.first_epoch)
    return state.snapshots[target % self.rewind_epochs]

  def _is_max(self) -> bool:
    if self.mode == 'auto':
      return self.monitor.endswith(('acc', 'accuracy', 'auc'))
    return self.mode == 'max'

  @property
  def words(self) -> str:
    """A description of the plateau, for messages."""
    verb = 'risen' if self._is_max() else 'fallen'
    by = f' by more than {self.min_delta:g}' if self.min_delta else ''
    epochs = count(self.patience or 0, 'epoch')
    return f'{self.monitor} has not {verb}{by} for {epochs}'
