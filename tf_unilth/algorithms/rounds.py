"""Rounds: stage 2 of a run, its ramps and its masks."""

from typing import TYPE_CHECKING

import numpy as np

from tf_unilth.algorithms.algorithm import NEVER
from tf_unilth.algorithms.ramp_limit import ramp_limit
from tf_unilth.run import budget
from tf_unilth.run.run_state import FINETUNING, PRUNING
from tf_unilth.user_warning import warn_user
from tf_unilth.wording import count

if TYPE_CHECKING:
  from tf_unilth.algorithms.pruning_run import PruningRun


class Rounds:
  """The rounds of a run: each ramps, prunes and lets its algorithm rewind.

  Args:
    run: the run, which calls `end_round` at the step that `next_end` returns.
  """

  def __init__(self, run: 'PruningRun'):
    self._run = run

  def begin(self, step: int, reason: str) -> None:
    """Begins stage 2 at a training step, and prints the reason.

    Args:
      step: the training step.
      reason: why it begins, for the printed line.
    """
    run, algorithm = self._run, self._run.algorithm
    wanted = rounds = algorithm.rounds_wanted(run)
    if not run.pruner.explicit_rounds:
      left = run.timeline.steps - step
      steps = run.timeline.steps_for_rounds(left, wanted)
      shortest = algorithm.shortest_round(run)
      rounds = budget.rounds_that_fit(steps, wanted, shortest)
    run.state.stage, run.state.rounds = PRUNING, rounds
    run.state.rounds_begin = step
    target = run.pruner.target_text
    message = f'{rounds} of {count(wanted, "round")} to {target}'
    if rounds < wanted:
      explained = f'{message}, {self._explain_fewer_rounds(wanted)}'
      if algorithm.warns_of_fewer_rounds:
        warn_user(f'{algorithm.name}: {explained}.')
      else:
        message = explained
    algorithm.log.add(f'{reason}; {message}')
    self._begin_round()

  def _explain_fewer_rounds(self, wanted: int) -> str:
    run, algorithm = self._run, self._run.algorithm
    if algorithm.finetune_share(wanted) == 1:
      return 'since finetune_fraction=1 prunes in one'
    shortest = algorithm.shortest_round(run)
    enough = run.timeline.epochs_for(wanted, shortest, algorithm.dense_epochs)
    return (
      f'as many as fit into {count(run.timeline.epochs, "epoch")} (all need '
      f'{enough:,})'
    )

  def check(self) -> None:
    """Raises a `ValueError` if an explicit number of rounds does not fit."""
    run, algorithm = self._run, self._run.algorithm
    if run.pruner.explicit_rounds:
      run.timeline.check_rounds(
        algorithm.rounds_wanted(run),
        run.engine.steps_per_execution,
        algorithm.dense_epochs,
      )

  def next_end(self) -> int:
    """Returns the training step at which the present round ends."""
    state = self._run.state
    if state.stage != PRUNING or not state.rounds:
      return NEVER
    return self._run.timeline.round_end(state.round + 1)

  def set_step_kind(self) -> None:
    """Tells the engine whether the next steps have a penalty and zeros."""
    run, state = self._run, self._run.state
    ramps = state.ramp_limit > 0
    only_round = ramps and state.rounds == 1
    run.engine.set_step_kind(ramps, bool(run.pruner.zeros) or not only_round)

  def _begin_round(self) -> None:
    """Chooses the candidates of the next round, and starts its ramp."""
    run, state = self._run, self._run.state
    if run.algorithm.ramp is None:
      return
    number = state.round + 1
    new = self._masks_at(number)
    run.engine.set_candidates(
      [
        before & ~after
        for before, after in zip(run.pruner.masks, new, strict=True)
      ]
    )
    begin, end = run.timeline.round_end(number - 1), self.next_end()
    self._start_lambda(number, end - begin)

  def _start_lambda(self, number: int, steps: int) -> None:
    """Lets lambda rise over the next steps of a round."""
    run, state, algorithm = self._run, self._run.state, self._run.algorithm
    assert algorithm.ramp is not None
    limit, exponent = ramp_limit(
      algorithm.ramp,
      run.engine.step_sizes(steps),
      algorithm.shrink_exponent,
      steps,
    )
    state.ramp_begin = run.engine.iterations()
    state.ramp_steps = algorithm.ramp.ramp_steps(steps)
    state.ramp_limit = limit
    self.pass_ramp_to_engine()
    if number == 1 or algorithm.verbose > 1:
      algorithm.log.add(
        f'round {number}: {count(steps, "step")}, lambda rises to {limit:.3g} '
        f'(A = {exponent:.3g})'
      )

  def pass_ramp_to_engine(self) -> None:
    """Passes the ramp of the state to the train step."""
    state = self._run.state
    self._run.engine.set_ramp(
      state.ramp_begin, state.ramp_steps, state.ramp_limit
    )

  def continue_ramp(self) -> None:
    """Starts the ramp again over the rest of the round, with the same A."""
    if self._run.state.ramp_limit > 0:
      left = max(1, self.next_end() - self._run.step)
      self._start_lambda(self._run.state.round + 1, left)

  def end_round(self) -> None:
    """Prunes to the sparsity of the round, and begins the next or stage 3."""
    run, state, algorithm = self._run, self._run.state, self._run.algorithm
    number = state.round + 1
    run.engine.check_kernels()
    run.pruner.apply_masks(self._masks_at(number))
    run.engine.clear_slots(run.pruner.masks)
    state.round, state.ramp_limit = number, 0.0
    state.zeros = run.pruner.zeros
    self.pass_ramp_to_engine()
    if algorithm.verbose > 1:
      algorithm.log.add(
        f'round {number} of {state.rounds}: {run.pruner.present_text}'
      )
    algorithm.on_round_end(run)
    if number < state.rounds:
      self._begin_round()
    else:
      state.stage = FINETUNING
      state.clear_snapshots()
      algorithm.on_finetuning(run)
      algorithm.log.add(f'{run.pruner.present_text} reached; finetuning')

  def _masks_at(self, number: int) -> list[np.ndarray]:
    """Returns the masks at the end of a round, by the present scores."""
    run = self._run
    scores = run.pruner.read_scores(run.algorithm.scores)
    return run.pruner.masks_at(number, run.state.rounds, scores)
