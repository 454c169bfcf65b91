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
from tf_unilth.engines.tfmot import (
  keras_access,
  optimizer_traits,
)
from tf_unilth.engines.tfmot.run_state import FINETUNING, PRUNING
from tf_unilth.run import budget, continuation
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.wording import count, percent


class PruningRun(ArmedRun):
  """The stages and rounds of a run; a final class decides the rest.

  Args:
    scores: rank the weights.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: the share of stages 2 and 3 after the last round.
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.
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
    self._restored = self._begun = False
    self._next_event_step, self._epoch_begin = NEVER, 0

  # The run.

  def _begin(self, epoch: int) -> None:
    """Begins a run, goes on with one, or merely holds a finished ticket."""
    self._pruner.load_masks()
    if not self._inert:
      if self._was_compiled_anew():
        self._take_optimizer()
      self._arm()
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
      self._begin_anew(epoch)
    self._first_iterations = self._iterations()
    self._is_running = True
    self._schedule_due()
    self._do_due(0)

  def _resume(self) -> None:
    iterations = self._iterations()
    if not continuation.match_iterations(self._state, iterations):
      self._say(
        'the optimizer has done fewer steps than the run, as after compiling '
        "again, or from a file without its state (Keras's SavedModel): the "
        'run goes on, but not as if it had never stopped'
      )
    self._push_decay()
    self._holding = not self._inert and self.reached_target
    self._say(f'going on in stage {self._state.get("stage")}')

  def _begin_anew(self, epoch: int) -> None:
    state, zeros = self._state, self._pruner.zeros
    self._rewind_weights = None
    if self._pruner.has_begun and not state.begun:
      self._say(
        f'the masks are at {percent(self.sparsity)}, but what was loaded '
        'tells nothing of their run, as a weights file does not: a new one '
        'begins from there'
      )
    self._holding = self.reached_target and not self._inert
    if state.begun and not self._holding and not self._inert:
      self._say(
        f'this fit (to epoch {self.params["epochs"]}, from epoch {epoch}, with '
        f'{zeros} zeros) does not continue the known run of '
        f'{continuation.describe(state)}: a new run begins'
      )
    self._layers.warn_of_open_masks()
    state.set(
      first_epoch=epoch,
      epochs=self.params['epochs'],
      steps_per_epoch=self.params['steps'] or 0,
      algorithm=continuation.fingerprint(type(self).__name__),
      zeros=zeros,
    )
    self._restart_decay(self._timeline.steps)
    if self._holding:
      state.set(stage=FINETUNING)
      self._say(f'{percent(self.sparsity)} was reached before: mask held')
    elif not self._inert:
      budget.check_epochs(self._timeline.epochs, first=epoch)
      fit_checks.check_not_frozen(self._layers)
      self._check_rounds()
      self._warn_of_callbacks()
      state.reset()
      self._on_run_begin()

  def _warn_of_callbacks(self) -> None:
    """Warns of callbacks that the cuts mislead."""
    if self._callback_list is None:
      return
    epochs, first = self._timeline.epochs, self._state.get('first_epoch')
    dense = self._dense_epochs(epochs)
    share = 1 - self._finetune_share(self._rounds_wanted())
    fit_checks.warn_of_misled(
      self._callback_list.callbacks,
      self._optimizer,
      epochs,
      first + dense + math.ceil((epochs - dense) * share),
    )

  def _begin_rounds(self, step: int, why: str) -> None:
    """Begins stage 2 at a training step, and says why."""
    wanted = rounds = self._rounds_wanted()
    if not self._pruner.explicit_rounds:
      left = self._timeline.steps - step
      steps = self._timeline.steps_for_rounds(left, wanted)
      rounds = budget.rounds_that_fit(steps, wanted, self._shortest_round())
    self._state.set(stage=PRUNING, rounds=rounds, rounds_begin=step)
    target = percent(self._pruner.target_zeros / self._pruner.total)
    message = f'{rounds} of {count(wanted, "round")} to {target}'
    if rounds < wanted:
      message += f'; {self._why_fewer(wanted)}'
      if self._warns_of_fewer_rounds:
        warnings.warn(f'{type(self).__name__}: {message}.', stacklevel=2)
    self._say(f'{why}; {message}')
    self._begin_round()

  def _why_fewer(self, wanted: int) -> str:
    if self._finetune_share(wanted) == 1:
      return 'finetune_fraction=1 cuts all at once'
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
    self._schedule_due()

  def _begin_ramp(self, ramp: L2Ramp) -> None:
    """Chooses the candidates of the next round and lets lambda rise."""
    state = self._state
    number = state.get('round') + 1
    new = self._masks_at(number)
    for variable, before, after in zip(
      state.candidates, self._pruner.masks, new, strict=True
    ):
      variable.assign(before & ~after)
    timeline = self._timeline
    steps = timeline.round_end(number) - timeline.round_end(number - 1)
    self._raise_lambda(ramp, number, steps)

  def _raise_lambda(self, ramp: L2Ramp, number: int, steps: int) -> None:
    """Lets lambda rise over the next steps, as strong as the ramp is to be."""
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
        f'round {number}: {count(steps, "step")}, lambda to {limit:.3g} '
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
    scores = self._scores.of(self._layers)
    return self._pruner.masks_at(number, self._state.get('rounds'), scores)

  def _follow_optimizer(self) -> bool:
    """Goes on with another optimizer, if the model was compiled anew."""
    if self._hook is None or not self._was_compiled_anew():
      return False
    self._hook.detach()
    iterations = self._iterations()
    self._take_optimizer()
    missing = self._iterations() - iterations
    state = self._state
    state.set(
      ramp_begin=state.get('ramp_begin') + missing,
      decay_begin=state.get('decay_begin') + missing,
    )
    for snapshot in state.snapshots:
      # It has no state of the new one, which is put back to where it begins.
      snapshot.replace_from(
        len(self._layers.model_weights), self._optimizer.variables()
      )
    self._push_decay()
    if self._ramp is not None and state.get('ramp_limit') > 0:
      # The rest of the round, as strong as the other one would have been.
      number = state.get('round') + 1
      step = self._epoch_begin + self._batches
      left = max(1, self._timeline.round_end(number) - step)
      self._raise_lambda(self._ramp, number, left)
    self._calls = 0
    self._arm()
    self._schedule_due()
    return True

  def _schedule_due(self) -> None:
    """Sets the next training step at which there is something to do."""
    self._next_event_step = NEVER
    if not self._inert and not self._holding:
      self._next_event_step = self._next_event()
      if self._state.get('stage') == PRUNING and self._state.get('rounds'):
        end = self._timeline.round_end(self._state.get('round') + 1)
        self._next_event_step = min(self._next_event_step, end)
    if self._hook is not None:
      ramps = self._state.get('ramp_limit') > 0
      only_round = ramps and self._state.get('rounds') == 1
      self._hook.set_kind(ramps, bool(self._pruner.zeros) or not only_round)

  def _do_due(self, step: int) -> None:
    while step >= self._next_event_step:
      if self._next_event() <= self._next_event_step:
        self._on_event(step)
      else:
        self._end_round()
      self._schedule_due()

  def _count_steps(self) -> None:
    """Learns from the first epoch how long an epoch is."""
    self._state.set(steps_per_epoch=self._batches)
    self._epoch_begin = 0
    self._state.set(decay_steps=self._timeline.steps)
    self._push_decay()
    if not self._inert and not self._holding:
      self._check_rounds()

  def _check_rounds(self) -> None:
    if self._pruner.explicit_rounds:
      self._timeline.check_rounds(
        self._rounds_wanted(),
        keras_access.steps_per_execution(self.model),
        self._dense_epochs,
      )

  def _restart_decay(self, steps: int, done: int = 0) -> None:
    """Restarts a `StagedLearningRate`, `done` steps into its decay."""
    begin = self._iterations() - done
    self._state.set(decay_begin=begin, decay_steps=steps + done)
    self._push_decay()

  def _push_decay(self) -> None:
    rate = optimizer_traits.staged_learning_rate(self._optimizer)
    if rate is not None:
      state = self._state
      rate.restart(state.get('decay_begin'), state.get('decay_steps'))

  def _l2_lambda(self) -> float:
    if self._hook is None or self._ramp is None:
      return 0.0
    iterations = self._optimizer.iterations
    return float(self._state.l2_lambda(self._ramp, iterations))
