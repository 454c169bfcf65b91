"""What one of the four algorithms decides about a run that they share."""

import sys
from typing import Any

from tf_unilth.engines.tfmot import keras_access
from tf_unilth.run import budget

NEVER = sys.maxsize


class AlgorithmSteps:
  """The decisions of an algorithm, with what most of them decide."""

  # The pace of schedules that leave it open.
  _pace = 'geometric'
  # The shrink exponent A per round of a ramp that leaves its limit open.
  _shrink_exponent = 0.0
  # Whether to warn, beside the printed line, if not all rounds fit.
  _warns_of_fewer_rounds = False
  # Of the run.
  model: Any
  _pruner: Any
  _finetune_fraction: float

  def _rounds_wanted(self) -> int:
    """Returns how many rounds there are if the budget allows it."""
    schedules = self._pruner.schedules
    needed = max(schedule.rounds_needed(self._pace) for schedule in schedules)
    return self._pruner.explicit_rounds or needed

  def _shortest_round(self) -> int:
    """Returns the fewest training steps of a round."""
    # Keras lets a callback act once per execution.
    per_execution = keras_access.steps_per_execution(self.model)
    return max(budget.MIN_ROUND_STEPS, per_execution)

  def _finetune_share(self, rounds: int) -> float:
    """Returns the share of stages 2 and 3 that comes after the last round."""
    del rounds
    return self._finetune_fraction

  def _dense_epochs(self, epochs: int) -> int:
    """Returns after how many epochs round 1 begins at the latest."""
    del epochs
    return 0

  def _snapshots(self) -> int:
    """Returns how many snapshots the algorithm keeps at once."""
    return 0

  def _check_fit(self, fit: dict[str, Any]) -> None:
    """Raises if the running `fit` lacks something."""

  def _on_run_begin(self) -> None:
    """Called before the first step of a run."""
    raise NotImplementedError

  def _on_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
    """Called when `epoch` epochs are completed."""

  def _on_round_end(self) -> None:
    """Called when the masks of a round have been made."""

  def _on_finetuning(self) -> None:
    """Called when stage 3 begins."""

  def _next_event(self) -> int:
    """Returns the training step of the next event besides the rounds' ends."""
    return NEVER

  def _on_event(self, step: int) -> None:
    """Called at the step that `_next_event` returned."""
