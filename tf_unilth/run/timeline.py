"""The training steps at which the epochs and rounds of a run end."""

import bisect
from collections.abc import Callable

from tf_unilth.run import budget
from tf_unilth.run.run_state import RunState
from tf_unilth.wording import count

# The end of the search in `epochs_for`; no run has more epochs.
_MAX_EPOCHS = 1 << 40


class Timeline:
  """The training steps at which the rounds of a run end.

  Args:
    state: the state of the run, with its epochs and steps.
    finetune_share: returns, for a number of rounds, the share of stages 2 and
      3 after the last round, in [0, 1].
  """

  def __init__(self, state: RunState, finetune_share: Callable[[int], float]):
    self._state = state
    self._finetune_share = finetune_share

  @property
  def epochs(self) -> int:
    """The number of epochs of the run."""
    return self._state.epochs - self._state.first_epoch

  @property
  def steps(self) -> int:
    """The number of training steps of the run; 0 if not known yet."""
    return self.epochs * self._state.steps_per_epoch

  def require_steps(self, why: str) -> None:
    """Raises an error if the number of steps per epoch is not known yet.

    Args:
      why: the reason why the steps of an epoch are needed, for the message.

    Raises:
      ValueError: the number is not known.
    """
    if not self.steps:
      raise ValueError(
        'steps_per_epoch must be given to fit: the data do not state how many '
        f'steps an epoch has, and {why}.'
      )

  def step_at(self, epoch: int) -> int:
    """Returns the training step at which an epoch of `fit`, from 0, begins."""
    since = epoch - self._state.first_epoch
    return since * self._state.steps_per_epoch

  def round_end(self, number: int) -> int:
    """Returns the training step at which a round, from 1, ends."""
    begin, rounds = self._state.rounds_begin, self._state.rounds
    share = self._finetune_share(rounds)
    return budget.round_end(begin, self.steps - begin, share, number, rounds)

  def steps_for_rounds(self, steps: int, rounds: int) -> int:
    """Returns the steps of the rounds, without the finetuning.

    Args:
      steps: the steps of stages 2 and 3.
      rounds: the number of rounds, at least 1.
    """
    share = self._finetune_share(rounds)
    return budget.round_end(0, steps, share, rounds, rounds)

  def check_rounds(
    self,
    rounds: int,
    steps_per_execution: int,
    dense_epochs: Callable[[int], int],
  ) -> None:
    """Raises an error if an explicit number of rounds does not fit.

    Args:
      rounds: the number of rounds, at least 1.
      steps_per_execution: the steps of one execution. Keras calls callbacks
        once per execution, so a round has at least as many steps.
      dense_epochs: returns, for all epochs of a run, the largest number of
        epochs before round 1.

    Raises:
      ValueError: the rounds do not fit; states the smallest sufficient epochs.
    """
    per_epoch = self._state.steps_per_epoch
    if not per_epoch or self._finetune_share(rounds) == 1:
      return  # Not known yet, or all rounds end at once.
    smallest = self.epochs_for(rounds, steps_per_execution, dense_epochs)
    if smallest > self.epochs:
      first = self._state.first_epoch
      raise ValueError(
        f'rounds={rounds} do not fit into {count(self.epochs, "epoch")} of '
        f'{count(per_epoch, "step")}: epochs must be at least '
        f'{first + smallest}.'
      )

  def epochs_for(
    self, rounds: int, shortest: int, dense_epochs: Callable[[int], int]
  ) -> int:
    """Returns the fewest epochs that rounds need, at least `self.epochs`.

    Args:
      rounds: the number of rounds, at least 1.
      shortest: the fewest steps of a round.
      dense_epochs: returns, for all epochs of a run, the largest number of
        epochs before round 1.
    """
    per_epoch = self._state.steps_per_epoch

    def fits(epochs: int) -> bool:
      steps = (epochs - dense_epochs(epochs)) * per_epoch
      return self.steps_for_rounds(steps, rounds) >= rounds * shortest

    return bisect.bisect_left(
      range(_MAX_EPOCHS), True, lo=self.epochs, key=fits
    )
