"""How a `fit` starts: with a run that goes on, a new one or a fixed mask."""

import math
from typing import TYPE_CHECKING

from tf_unilth.run import budget, continuation
from tf_unilth.run.run_state import FINETUNING

if TYPE_CHECKING:
  from tf_unilth.algorithms.pruning_run import PruningRun


def resume_or_begin(run: 'PruningRun', epoch: int) -> None:
  """Resumes the run that the model has, or begins a new one.

  Args:
    run: the run; its masks are read, and its model is armed.
    epoch: the first epoch of the `fit`, counted from 0.

  Raises:
    ValueError: the budget is too small, or the algorithm cannot run.
  """
  if continuation.goes_on(
    run.state,
    run.algorithm.name,
    epoch,
    run.epochs,
    run.pruner.zeros,
    run.is_restored,
  ):
    _resume(run)
  else:
    _begin(run, epoch)


def _resume(run: 'PruningRun') -> None:
  log = run.algorithm.log
  if not continuation.match_iterations(run.state, run.engine.iterations()):
    log.add(
      'the optimizer has done fewer steps than the run, as after compiling '
      'again or loading a SavedModel, which has no optimizer state: the run '
      'resumes, but not as if it had never stopped'
    )
  run.rounds.pass_ramp_to_engine()
  run.restart_learning_rate()
  run.already_pruned = not run.is_inert and run.reached_target
  log.add(f'resuming in stage {run.state.stage}')


def _begin(run: 'PruningRun', epoch: int) -> None:
  state, algorithm = run.state, run.algorithm
  algorithm.rewind_weights = None
  run.engine.check_masks()
  run.pruner.load_masks()
  run.already_pruned = run.reached_target and not run.is_inert
  _report_earlier_run(run, epoch)
  state.first_epoch, state.epochs = epoch, run.epochs
  state.steps_per_epoch = run.steps_per_epoch
  state.algorithm = algorithm.name
  state.zeros = run.pruner.zeros
  run.restart_decay(run.timeline.steps)
  if run.already_pruned:
    state.stage = FINETUNING
    algorithm.log.add(
      f'{run.pruner.present_text} was reached before: the masks stay fixed'
    )
  elif not run.is_inert:
    budget.check_epochs(run.timeline.epochs, first=epoch)
    run.engine.check_new_run(run.timeline.epochs, _rounds_end(run))
    run.rounds.check()
    state.reset(algorithm.snapshot_count)
    run.rounds.pass_ramp_to_engine()
    algorithm.on_run_begin(run)


def _rounds_end(run: 'PruningRun') -> int:
  """Returns the (0-based) epoch by which the last round has ended."""
  algorithm, epochs = run.algorithm, run.timeline.epochs
  dense = algorithm.dense_epochs(epochs)
  share = 1 - algorithm.finetune_share(algorithm.rounds_wanted(run))
  return run.state.first_epoch + dense + math.ceil((epochs - dense) * share)


def _report_earlier_run(run: 'PruningRun', epoch: int) -> None:
  """Prints why an earlier run of the model is not resumed."""
  state, log = run.state, run.algorithm.log
  if run.pruner.has_begun and not state.begun:
    log.add(
      f'the masks are at {run.pruner.present_text}, but the model has no '
      'state of their run (a weights file does not store it): a new run '
      'begins from these masks'
    )
  if state.begun and not run.already_pruned and not run.is_inert:
    log.add(
      f'this fit (to epoch {run.epochs}, from epoch {epoch}, with '
      f'{run.pruner.zeros} zeros) does not continue the earlier run of '
      f'{continuation.describe(state)}: a new run begins'
    )
