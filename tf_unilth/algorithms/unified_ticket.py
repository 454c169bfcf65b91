"""The stages that UniLTH and UniDLTH share: plateau, rewind, ramp, rounds."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.tfmot.plateau import Plateau
from tf_unilth.engines.tfmot.run_state import DENSE
from tf_unilth.schedules.l2_ramp import L2Ramp


class UnifiedTicketCallback(TicketCallback):
  """Base class of UniLTH and UniDLTH, which differ in their scores only.

  Args:
    scores: rank the weights.
    plateau: when stage 1 ends and how far it is rewound.
    finetune_fraction: share of the steps of stages 2 and 3 that follows the
      last round, in [0, 1].
    ramp: the L2 ramp of each round; `None` for the default `L2Ramp()`.
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.
    pretrained: whether the model is already trained, so that stage 1 is
      skipped.
  """

  _pace = 'cubic'
  _shrink_exponent = 3.0
  _extra_settings: tuple[str, ...] = ('plateau',)

  def __init__(
    self,
    scores: Scores,
    plateau: Plateau,
    finetune_fraction: float,
    ramp: L2Ramp | None,
    verbose: int,
    pretrained: bool,
  ):
    ramp = L2Ramp() if ramp is None else ramp
    super().__init__(scores, ramp, finetune_fraction, verbose)
    self._pretrained = check_bool('pretrained', pretrained)
    if pretrained:
      _check_no_dense_stage(plateau)
      plateau = dataclasses.replace(plateau, patience=None)
      # Reported only if True, since older checkpoints do not have it.
      self._extra_settings = (*self._extra_settings, 'pretrained')
    self._plateau = plateau
    self._validation_freq: Any = 1

  def _dense_epochs(self, epochs: int) -> int:
    return 0 if self._pretrained else self._plateau.dense_epochs(epochs)

  def _snapshot_count(self) -> int:
    return self._plateau.snapshots

  def _check_fit(self, fit: dict[str, Any]) -> None:
    self._validation_freq = fit.get('validation_freq', 1)
    if (
      self._plateau.patience is not None
      and self._plateau.monitor.startswith('val_')
      and not fit.get('has_validation', True)
    ):
      raise ValueError(
        f'monitor={self._plateau.monitor!r} needs validation data: pass '
        'validation_data or validation_split to fit.'
      )

  def _on_run_begin(self) -> None:
    if self._pretrained:
      self._begin_pretrained()
      return
    state = self._state
    state.set(stage=DENSE)
    self._plateau.keep(
      state, state.get('first_epoch'), self._rewindable_variables()
    )

  def _begin_pretrained(self) -> None:
    """Begins stage 2 at the first step."""
    self._timeline.require_steps('pretrained=True prunes from the first step')
    # A ticket of this run is applied with these weights. They are copied since
    # variables may be updated in place.
    self._rewind_weights = [
      np.array(variable.numpy()) for variable in self._layers.model_weights
    ]
    self._begin_rounds(0, 'pretrained=True: pruning starts without stage 1')

  def _on_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
    state = self._state
    if state.get('stage') != DENSE:
      return
    if self._plateau.patience is not None:
      self._check_monitor(epoch, logs)
    value = logs.get(self._plateau.monitor)
    if value is not None and self._plateau.watch(
      state, epoch, float(value), self._rewindable_variables()
    ):
      self._end_dense_stage(epoch)
    elif self._has_dense_stage_ended(epoch):
      self._begin_stage_2(
        epoch,
        'reached max_dense_fraction without a plateau; pruning starts without '
        'rewinding',
      )
    else:
      self._plateau.keep(state, epoch, self._rewindable_variables())

  def _has_dense_stage_ended(self, epoch: int) -> bool:
    dense_epochs = epoch - self._state.get('first_epoch')
    return dense_epochs >= self._dense_epochs(self._timeline.epochs)

  def _check_monitor(self, epoch: int, logs: dict[str, Any]) -> None:
    monitor = self._plateau.monitor
    if monitor in logs:
      if not np.isfinite(logs[monitor]):
        raise FloatingPointError(
          f'monitor={monitor!r} is {logs[monitor]} in epoch {epoch}, but must '
          'be finite.'
        )
    elif not monitor.startswith('val_') or self._validates_in(epoch):
      raise ValueError(
        'monitor must be a name in the epoch logs, but '
        f'{monitor!r} is not in the logs of epoch {epoch}: {sorted(logs)}.'
      )

  def _validates_in(self, epoch: int) -> bool:
    """Returns whether Keras validates at the end of a (1-based) epoch."""
    frequency = self._validation_freq
    if isinstance(frequency, int):
      return epoch % frequency == 0
    return epoch in frequency

  def _end_dense_stage(self, epoch: int) -> None:
    """Rewinds from the plateau and begins stage 2."""
    snapshot = self._plateau.rewinds_to(self._state, epoch)
    if self._state.get('best_epoch') <= self._state.get('first_epoch') + 1:
      warnings.warn(
        f'{type(self).__name__}: no epoch was better than the first. A network '
        'that has not learned makes a poor ticket: check the learning rate or '
        'raise patience. If the model was trained before, pass '
        'pretrained=True.',
        stacklevel=2,
      )
    self._state.set(plateau_epoch=epoch)
    rewind = 'not rewound'
    if snapshot is not None:
      self._rewind(snapshot)
      rewound_to = snapshot.epoch
      self._state.set(rewound_to_epoch=rewound_to)
      place = f'the end of epoch {rewound_to}' if rewound_to else 'the start'
      rewind = f'rewound to {place}'
    self._begin_stage_2(epoch, f'{self._plateau.words}; {rewind}')

  def _begin_stage_2(self, epoch: int, reason: str) -> None:
    step = self._timeline.step_at(epoch)
    self._state.clear_snapshots()
    self._restart_decay(self._timeline.steps - step)
    self._begin_rounds(step, f'epoch {epoch}: {reason}')


def _check_no_dense_stage(plateau: Plateau) -> None:
  """Raises if an argument of stage 1 is set, which `pretrained` skips."""
  defaults = Plateau()
  for field in dataclasses.fields(Plateau):
    value = getattr(plateau, field.name)
    default = getattr(defaults, field.name)
    if value != default:
      raise ValueError(
        f'{field.name} must be left at {default!r} with pretrained=True, which '
        f'has no dense stage, but is {value!r}.'
      )
