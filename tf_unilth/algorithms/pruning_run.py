"""A pruning run: stages, rounds, the ramp and the learning rate's decay."""

import math
import warnings
from typing import Any

import numpy as np

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.algorithm_steps import NEVER
from tf_unilth.algorithms.armed_run import ArmedRun
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.argument_checks import check_float, format_value
from tf_unilth.engines.tfmot import keras_access, optimizer_traits
from tf_unilth.engines.tfmot.run_state import FINETUNING, PRUNING
from tf_unilth.run import budget, continuation
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.wording import count, percent


class PruningRun(ArmedRun):
  """The stages and rounds of a run.

  Args:
    scores: rank the weights.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: share of the steps of stages 2 and 3 that follows the
      last round, in [0, 1].
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.

  Raises:
    ValueError: an argument has a wrong type or is out of its range.
  """

  def __init__(
    self,
    scores: Scores,
    ramp: L2Ramp | None,
    finetune_fraction: float,
    verbose: int,
  ):
    if ramp is not None and not isinstance(ramp, L2Ramp):
      raise ValueError(
        f'ramp must be None or an L2Ramp, but is {format_value(ramp)}.'
      )
    super().__init__(ramp, verbose)
    self._scores = scores
    self._finetune_fraction = check_float(
      'finetune_fraction', finetune_fraction, '[0, 1]'
    )
    self._timeline: Any = None
    self._restored = self._run_begun = False
    self._next_event_step, self._epoch_begin_step = NEVER, 0

  def _begin(self, epoch: int) -> None:
    """Begins or resumes a run, or keeps the masks of a finished ticket."""
    self._pruner.load_masks()
    if not self._inert:
      if self._was_recompiled():
        self._use_recompiled_optimizer()
      self._attach_hook()
      self._apply_masks()
    if continuation.goes_on(
      self._state,
      type(self).__name__,
      epoch,
      self.params['epochs'],
      self._pruner.zeros,
      self._restored,
    ):
      self._resume()
    else:
      self._begin_new_run(epoch)
    self._iterations_at_begin = self._iterations()
    self._is_running = True
    self._schedule_next_event()
    self._run_due_events(0)

  def _resume(self) -> None:
    iterations = self._iterations()
    if not continuation.match_iterations(self._state, iterations):
      self._say(
        'the optimizer has done fewer steps than the run, as after compiling '
        'again or loading a SavedModel, which has no optimizer state: the run '
        'resumes, but not as if it had never stopped'
      )
    self._restart_learning_rate()
    self._already_pruned = not self._inert and self.reached_target
    self._say(f'resuming in stage {self._state.get("stage")}')

  def _begin_new_run(self, epoch: int) -> None:
    state = self._state
    self._rewind_weights = None
    self._already_pruned = self.reached_target and not self._inert
    self._report_earlier_run(epoch)
    self._layers.warn_of_open_masks()
    state.set(
      first_epoch=epoch,
      epochs=self.params['epochs'],
      steps_per_epoch=self.params['steps'] or 0,
      algorithm=continuation.fingerprint(type(self).__name__),
      zeros=self._pruner.zeros,
    )
    self._restart_decay(self._timeline.steps)
    if self._already_pruned:
      state.set(stage=FINETUNING)
      self._say(
        f'{percent(self.sparsity)} was reached before: the masks stay fixed'
      )
    elif not self._inert:
      budget.check_epochs(self._timeline.epochs, first=epoch)
      fit_checks.check_not_frozen(self._layers)
      self._check_rounds()
      self._warn_of_callbacks()
      state.reset()
      self._on_run_begin()

  def _report_earlier_run(self, epoch: int) -> None:
    """Prints why an earlier run of the model is not resumed."""
    state = self._state
    if self._pruner.has_begun and not state.begun:
      self._say(
        f'the masks are at {percent(self.sparsity)}, but the model has no '
        'state of their run (a weights file does not store it): a new run '
        'begins from these masks'
      )
    if state.begun and not self._already_pruned and not self._inert:
      self._say(
        f'this fit (to epoch {self.params["epochs"]}, from epoch {epoch}, with '
        f'{self._pruner.zeros} zeros) does not continue the earlier run of '
        f'{continuation.describe(state)}: a new run begins'
      )

  def _warn_of_callbacks(self) -> None:
    """Warns of callbacks that monitor values which pruning worsens."""
    if self._callback_list is None:
      return
    epochs, first = self._timeline.epochs, self._state.get('first_epoch')
    dense = self._dense_epochs(epochs)
    share = 1 - self._finetune_share(self._rounds_wanted())
    fit_checks.warn_of_misled_callbacks(
      self._callback_list.callbacks,
      self._optimizer,
      epochs,
      first + dense + math.ceil((epochs - dense) * share),
    )

  def _begin_rounds(self, step: int, reason: str) -> None:
    """Begins stage 2 at a training step, and prints the reason."""
    wanted = rounds = self._rounds_wanted()
    if not self._pruner.explicit_rounds:
      left = self._timeline.steps - step
      steps = self._timeline.steps_for_rounds(left, wanted)
      rounds = budget.rounds_that_fit(steps, wanted, self._shortest_round())
    self._state.set(stage=PRUNING, rounds=rounds, rounds_begin=step)
    target = percent(self._pruner.target_zeros / self._pruner.total)
    message = f'{rounds} of {count(wanted, "round")} to {target}'
    if rounds < wanted:
      message += f'; {self._explain_fewer_rounds(wanted)}'
      if self._warns_of_fewer_rounds:
        warnings.warn(f'{type(self).__name__}: {message}.', stacklevel=2)
    self._say(f'{reason}; {message}')
    self._begin_round()

  def _explain_fewer_rounds(self, wanted: int) -> str:
    if self._finetune_share(wanted) == 1:
      return 'finetune_fraction=1 prunes in one round'
    enough = self._timeline.epochs_for(
      wanted, self._shortest_round(), self._dense_epochs
    )
    return (
      f'the budget of {count(self._timeline.epochs, "epoch")} allows no more, '
      f'{count(enough, "epoch")} would allow all'
    )

  def _begin_round(self) -> None:
    if self._ramp is not None:
      self._begin_ramp(self._ramp)
    self._schedule_next_event()

  def _begin_ramp(self, ramp: L2Ramp) -> None:
    """Chooses the candidates of the next round, and starts the ramp."""
    state = self._state
    number = state.get('round') + 1
    new = self._masks_at(number)
    for variable, before, after in zip(
      state.candidates, self._pruner.masks, new, strict=True
    ):
      variable.assign(before & ~after)
    timeline = self._timeline
    steps = timeline.round_end(number) - timeline.round_end(number - 1)
    self._start_lambda(ramp, number, steps)

  def _start_lambda(self, ramp: L2Ramp, number: int, steps: int) -> None:
    """Lets lambda rise over the next steps of a round."""
    optimizer = self._optimizer
    limit, exponent = optimizer_traits.ramp_limit(
      optimizer, ramp, self._shrink_exponent, steps
    )
    self._state.set(
      ramp_begin=optimizer.iterations,
      ramp_steps=ramp.ramp_steps(steps),
      ramp_limit=limit,
    )
    if number == 1 or self.verbose > 1:
      self._say(
        f'round {number}: {count(steps, "step")}, lambda rises to {limit:.3g} '
        f'(A = {exponent:.3g})'
      )

  def _end_round(self) -> None:
    state = self._state
    number, rounds = state.get('round') + 1, state.get('rounds')
    fit_checks.check_kernels(self._layers)
    self._pruner.apply_masks(self._masks_at(number))
    self._clear_slots()
    state.set(round=number, ramp_limit=0.0, zeros=self._pruner.zeros)
    if self.verbose > 1:
      self._say(f'round {number} of {rounds}: {percent(self.sparsity)}')
    self._on_round_end()
    if number < rounds:
      self._begin_round()
    else:
      state.set(stage=FINETUNING)
      state.clear_snapshots()
      self._on_finetuning()
      self._say(f'{percent(self.sparsity)} reached; finetuning')

  def _masks_at(self, number: int) -> list[np.ndarray]:
    scores = self._scores.weight_scores(self._layers)
    return self._pruner.masks_at(number, self._state.get('rounds'), scores)

  def _follow_optimizer(self) -> bool:
    """Switches to the model's new optimizer; returns whether there is one."""
    if self._hook is None or not self._was_recompiled():
      return False
    self._hook.detach()
    iterations = self._iterations()
    self._use_recompiled_optimizer()
    missing = self._iterations() - iterations
    state = self._state
    state.set(
      ramp_begin=state.get('ramp_begin') + missing,
      decay_begin=state.get('decay_begin') + missing,
    )
    for snapshot in state.snapshots:
      # A snapshot has no state of the new optimizer: it gets the present one.
      snapshot.replace_from(
        len(self._layers.model_weights), self._optimizer.variables()
      )
    self._restart_learning_rate()
    if self._ramp is not None and state.get('ramp_limit') > 0:
      # Over the rest of the round, with the same shrink exponent.
      number = state.get('round') + 1
      step = self._epoch_begin_step + self._epoch_batches
      left = max(1, self._timeline.round_end(number) - step)
      self._start_lambda(self._ramp, number, left)
    self._hook_calls = 0
    self._attach_hook()
    self._schedule_next_event()
    return True

  def _schedule_next_event(self) -> None:
    """Sets the training step of the next event, and the kind of steps."""
    self._next_event_step = NEVER
    if not self._inert and not self._already_pruned:
      self._next_event_step = self._next_event()
      if self._state.get('stage') == PRUNING and self._state.get('rounds'):
        end = self._timeline.round_end(self._state.get('round') + 1)
        self._next_event_step = min(self._next_event_step, end)
    if self._hook is not None:
      ramps = self._state.get('ramp_limit') > 0
      only_round = ramps and self._state.get('rounds') == 1
      self._hook.set_kind(ramps, bool(self._pruner.zeros) or not only_round)

  def _run_due_events(self, step: int) -> None:
    while step >= self._next_event_step:
      if self._next_event() <= self._next_event_step:
        self._on_event(step)
      else:
        self._end_round()
      self._schedule_next_event()

  def _record_steps_per_epoch(self) -> None:
    """Sets the steps per epoch, which the first epoch has counted."""
    self._state.set(steps_per_epoch=self._epoch_batches)
    self._epoch_begin_step = 0
    self._state.set(decay_steps=self._timeline.steps)
    self._restart_learning_rate()
    if not self._inert and not self._already_pruned:
      self._check_rounds()

  def _check_rounds(self) -> None:
    if self._pruner.explicit_rounds:
      self._timeline.check_rounds(
        self._rounds_wanted(),
        keras_access.steps_per_execution(self.model),
        self._dense_epochs,
      )

  def _restart_decay(self, steps: int, done: int = 0) -> None:
    """Restarts a `StagedLearningRate`, `done` steps after its decay's begin."""
    begin = self._iterations() - done
    self._state.set(decay_begin=begin, decay_steps=steps + done)
    self._restart_learning_rate()

  def _restart_learning_rate(self) -> None:
    """Passes the decay of the run's state to a `StagedLearningRate`."""
    rate = optimizer_traits.staged_learning_rate(self._optimizer)
    if rate is not None:
      state = self._state
      rate.restart(state.get('decay_begin'), state.get('decay_steps'))

  def _l2_lambda(self) -> float:
    if self._hook is None or self._ramp is None:
      return 0.0
    iterations = self._optimizer.iterations
    return float(self._state.l2_lambda(self._ramp, iterations))
