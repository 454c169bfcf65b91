"""Algorithm: what LTH, DLTH, UniLTH and UniDLTH differ in."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_unilth.algorithms.event_log import EventLog
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.argument_checks import check_float, check_option, format_value
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.run import budget
from tf_unilth.schedules.l2_ramp import L2Ramp

if TYPE_CHECKING:
  from tf_unilth.algorithms.pruning_run import PruningRun

NEVER = sys.maxsize


class Algorithm:
  """The settings of an algorithm, and the methods that it may override.

  A `PruningRun` calls the methods. They read the run's `state`, `timeline`,
  `pruner` and `engine`, and call its methods, such as `rewind`, and
  `rounds.begin`. They know no framework.

  Args:
    scores: rank the weights.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: share of the steps of stages 2 and 3 that follows the
      last round, in [0, 1].
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.

  Raises:
    ValueError: an argument has a wrong type or is out of its range.
  """

  # The pace of schedules whose `pace` is None.
  pace = 'geometric'
  # The shrink exponent A per round of a ramp whose `limit` is None.
  shrink_exponent = 0.0
  # Whether to warn, besides the printed line, if not all rounds fit.
  warns_of_fewer_rounds = False
  # How many snapshots the algorithm keeps at the same time.
  snapshot_count = 0

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
    self.verbose = check_option('verbose', verbose, (0, 1, 2))
    self.scores = scores
    self.ramp = ramp if ramp is not None and ramp.limit != 0 else None
    self.finetune_fraction = check_float(
      'finetune_fraction', finetune_fraction, '[0, 1]'
    )
    # Set by the run when it rewinds; see `TicketCallback`.
    self.rewind_weights: list[np.ndarray] | None = None
    self.log = EventLog(type(self).__name__, verbose)

  @property
  def name(self) -> str:
    """The name of the algorithm."""
    return type(self).__name__

  def rounds_wanted(self, run: 'PruningRun') -> int:
    """Returns the number of rounds, if the budget allows it."""
    return run.pruner.rounds_needed(self.pace)

  def shortest_round(self, run: 'PruningRun') -> int:
    """Returns the smallest number of training steps per round."""
    # Keras calls on_train_batch_end once per execution.
    return max(budget.MIN_ROUND_STEPS, run.engine.steps_per_execution)

  def finetune_share(self, rounds: int) -> float:
    """Returns the share of stages 2 and 3 that follows the last round."""
    del rounds
    return self.finetune_fraction

  def dense_epochs(self, epochs: int) -> int:
    """Returns the largest number of epochs before round 1 begins."""
    del epochs
    return 0

  def check_fit(self, fit: FitContext) -> None:
    """Raises if the algorithm cannot run in a `fit`."""

  def on_run_begin(self, run: 'PruningRun') -> None:
    """Called before the first step of a run."""
    raise NotImplementedError

  def on_epoch(
    self, run: 'PruningRun', epoch: int, logs: Mapping[str, Any]
  ) -> None:
    """Called when `epoch` epochs are completed, with the epoch logs."""

  def on_round_end(self, run: 'PruningRun') -> None:
    """Called after the masks of a round are applied."""

  def on_finetuning(self, run: 'PruningRun') -> None:
    """Called when stage 3 begins."""

  def next_event(self, run: 'PruningRun') -> int:
    """Returns the training step of the next event that is no round's end."""
    del run
    return NEVER

  def on_event(self, run: 'PruningRun', step: int) -> None:
    """Called at the step that `next_event` returned, or just after it."""
