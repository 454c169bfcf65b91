"""The methods of a run that an algorithm may override."""

import sys
from typing import Any

from tf_unilth.engines.tfmot import keras_access
from tf_unilth.run import budget

NEVER = sys.maxsize


class AlgorithmSteps:
  """The methods and constants that an algorithm may override."""

  # The pace of schedules whose `pace` is None.
  _pace = 'geometric'
  # The shrink exponent A per round of a ramp whose `limit` is None.
  _shrink_exponent = 0.0
  # Whether to warn, besides the printed line, if not all rounds fit.
  _warns_of_fewer_rounds = False
  # Set by the classes of the run.
  model: Any
  _pruner: Any
  _finetune_fraction: float

  def _rounds_wanted(self) -> int:
    """Returns the number of rounds, if the budget allows it."""
    schedules = self._pruner.schedules
    needed = max(schedule.rounds_needed(self._pace) for schedule in schedules)
    return self._pruner.explicit_rounds or needed

  def _shortest_round(self) -> int:
    """Returns the smallest number of training steps per round."""
    # Keras calls on_train_batch_end once per execution.
    per_execution = keras_access.steps_per_execution(self.model)
    return max(budget.MIN_ROUND_STEPS, per_execution)

  def _finetune_share(self, rounds: int) -> float:
    """Returns the share of stages 2 and 3 that follows the last round."""
    del rounds
    return self._finetune_fraction

  def _dense_epochs(self, epochs: int) -> int:
    """Returns the largest number of epochs before round 1 begins."""
    del epochs
    return 0

  def _snapshot_count(self) -> int:
    """Returns how many snapshots the algorithm keeps at the same time."""
    return 0

  def _check_fit(self, fit: dict[str, Any]) -> None:
    """Raises if the algorithm cannot run in a `fit`.

    Args:
      fit: the arguments of the running `fit`; empty in a custom loop.
    """

  def _on_run_begin(self) -> None:
    """Called before the first step of a run."""
    raise NotImplementedError

  def _on_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
    """Called when `epoch` epochs are completed, with the epoch logs."""

  def _on_round_end(self) -> None:
    """Called after the masks of a round are applied."""

  def _on_finetuning(self) -> None:
    """Called when stage 3 begins."""

  def _next_event(self) -> int:
    """Returns the training step of the next event that is no round's end."""
    return NEVER

  def _on_event(self, step: int) -> None:
    """Called at the step that `_next_event` returned, or just after it."""
