"""The stages that UniLTH and UniDLTH share: plateau, rewind, ramp, rounds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.run.plateau import Plateau
from tf_unilth.run.run_state import DENSE
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.user_warning import warn_user


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

  pace = 'cubic'
  shrink_exponent = 3.0
  extra_settings: tuple[str, ...] = ('plateau',)

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
    self.pretrained = check_bool('pretrained', pretrained)
    if pretrained:
      _check_no_dense_stage(plateau)
      plateau = dataclasses.replace(plateau, patience=None)
      # Reported only if True, since older checkpoints do not have it.
      self.extra_settings = (*self.extra_settings, 'pretrained')
    self.plateau = plateau
    self.snapshot_count = plateau.snapshots
    self._validation_freq: Any = 1

  def dense_epochs(self, epochs: int) -> int:
    """Returns the largest number of epochs of stage 1."""
    return 0 if self.pretrained else self.plateau.dense_epochs(epochs)

  def check_fit(self, fit: FitContext) -> None:
    """Raises if there are no validation data to monitor."""
    self._validation_freq = fit.validation_freq
    if (
      self.plateau.patience is not None
      and self.plateau.monitor.startswith('val_')
      and not fit.has_validation
    ):
      raise ValueError(
        f'monitor={self.plateau.monitor!r} needs validation data: pass '
        'validation_data or validation_split to fit.'
      )

  def on_run_begin(self, run: PruningRun) -> None:
    """Begins stage 1, or stage 2 if the model is pretrained."""
    if self.pretrained:
      self._begin_pretrained(run)
      return
    run.state.stage = DENSE
    first_epoch = run.state.first_epoch
    self.plateau.keep(run.state, first_epoch, run.engine.read_variables)

  def _begin_pretrained(self, run: PruningRun) -> None:
    """Begins stage 2 at the first step."""
    run.timeline.require_steps('pretrained=True prunes from the first step')
    # A ticket of this run is applied with these weights.
    self.rewind_weights = run.engine.weights_in(run.engine.read_variables())
    run.rounds.begin(0, 'pretrained=True: pruning starts without stage 1')

  def on_epoch(
    self, run: PruningRun, epoch: int, logs: Mapping[str, Any]
  ) -> None:
    """Ends stage 1 at a plateau, or when its share of the epochs is over."""
    if run.state.stage != DENSE:
      return
    plateau, read = self.plateau, run.engine.read_variables
    if plateau.patience is not None:
      self._check_monitor(epoch, logs)
    value = logs.get(plateau.monitor)
    if value is not None and plateau.watch(
      run.state, epoch, float(value), read
    ):
      self._end_dense_stage(run, epoch)
    elif self._has_dense_stage_ended(run, epoch):
      self._begin_stage_2(
        run,
        epoch,
        'reached max_dense_fraction without a plateau; pruning starts without '
        'rewinding',
      )
    else:
      plateau.keep(run.state, epoch, read)

  def _has_dense_stage_ended(self, run: PruningRun, epoch: int) -> bool:
    dense_epochs = epoch - run.state.first_epoch
    return dense_epochs >= self.dense_epochs(run.timeline.epochs)

  def _check_monitor(self, epoch: int, logs: Mapping[str, Any]) -> None:
    monitor = self.plateau.monitor
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

  def _end_dense_stage(self, run: PruningRun, epoch: int) -> None:
    """Rewinds from the plateau and begins stage 2."""
    state = run.state
    snapshot = self.plateau.rewinds_to(state, epoch)
    if state.best_epoch <= state.first_epoch + 1:
      warn_user(
        f'{self.name}: no epoch was better than the first. If '
        f'{self.plateau.monitor} was poor then, the network has not learned, '
        'and makes a poor ticket: check the learning rate or raise patience. '
        'If the model was trained before, pass pretrained=True.',
      )
    state.plateau_epoch = epoch
    rewind = 'not rewound'
    if snapshot is not None:
      run.rewind(snapshot)
      state.rewound_to_epoch = rewound_to = snapshot.epoch
      place = f'the end of epoch {rewound_to}' if rewound_to else 'the start'
      rewind = f'rewound to {place}'
      if rewound_to == epoch:  # It was better, but by less than `min_delta`.
        rewind = f'not rewound, since epoch {epoch} was the best'
    self._begin_stage_2(run, epoch, f'{self.plateau.words}; {rewind}')

  def _begin_stage_2(self, run: PruningRun, epoch: int, reason: str) -> None:
    step = run.timeline.step_at(epoch)
    run.state.clear_snapshots()
    run.restart_decay(run.timeline.steps - step)
    run.rounds.begin(step, f'epoch {epoch}: {reason}')


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
