"""When what happens in a run: its steps, its rounds and its budget."""

import bisect
from collections.abc import Callable

from tf_unilth.run import budget
from tf_unilth.run.run_numbers import RunNumbers
from tf_unilth.wording import count

# No budget of epochs is larger.
_MANY_EPOCHS = 1 << 40


class Timeline:
  """The training steps at which the rounds of a run end.

  Args:
    state: the run's, which holds the budget.
    finetune_share: returns, for a number of rounds, the share of stages 2 and
      3 that comes after the last one.
  """

  def __init__(self, state: RunNumbers, finetune_share: Callable[[int], float]):
    self._state = state
    self._finetune_share = finetune_share

  @property
  def epochs(self) -> int:
    """All epochs of the run."""
    return self._state.get('epochs') - self._state.get('first_epoch')

  @property
  def steps(self) -> int:
    """All training steps of the run; 0 while an epoch's are not known."""
    return self.epochs * self._state.get('steps_per_epoch')

  def require_steps(self, why: str) -> None:
    """Raises if the steps of an epoch are not known yet.

    Args:
      why: what needs them, for the message.
    """
    if not self.steps:
      raise ValueError(
        'steps_per_epoch must be given to fit, but the data do not tell how '
        f'many steps an epoch has, and {why}.'
      )

  def step_at(self, epoch: int) -> int:
    """Returns the training step at which a (0-based) epoch of `fit` begins."""
    since = epoch - self._state.get('first_epoch')
    return since * self._state.get('steps_per_epoch')

  def round_end(self, number: int) -> int:
    """Returns the training step at which a round (from 1) ends."""
    begin, rounds = self._state.get('rounds_begin'), self._state.get('rounds')
    share = self._finetune_share(rounds)
    return budget.round_end(begin, self.steps - begin, share, number, rounds)

  def steps_for_rounds(self, steps: int, rounds: int) -> int:
    """Returns how many of `steps` the rounds get, without the finetuning."""
    share = self._finetune_share(rounds)
    return budget.round_end(0, steps, share, rounds, rounds)

  def check_rounds(
    self,
    rounds: int,
    steps_per_execution: int,
    dense_epochs: Callable[[int], int],
  ) -> None:
    """Raises if explicit rounds do not fit, naming the epochs that would do.

    Args:
      rounds: how many there shall be.
      steps_per_execution: Keras lets a callback act, and a round end, once per
        execution.
      dense_epochs: returns, for all epochs, how many may come before round 1.
    """
    per_epoch = self._state.get('steps_per_epoch')
    if not per_epoch or self._finetune_share(rounds) == 1:
      return  # Not known yet, or all rounds are to end at once.
    smallest = self.epochs_for(rounds, steps_per_execution, dense_epochs)
    if smallest > self.epochs:
      first = self._state.get('first_epoch')
      raise ValueError(
        f'rounds={rounds} do not fit into {count(self.epochs, "epoch")} of '
        f'{count(per_epoch, "step")}: epochs must be at least '
        f'{first + smallest}.'
      )

  def epochs_for(
    self, rounds: int, shortest: int, dense_epochs: Callable[[int], int]
  ) -> int:
    """Returns the number of epochs, from the present one up, that rounds need.

    Args:
      rounds: how many there shall be.
      shortest: the steps that each of them has at least.
      dense_epochs: returns, for all epochs, how many may come before round 1.
    """
    per_epoch = self._state.get('steps_per_epoch')

    def fits(epochs: int) -> bool:
      steps = (epochs - dense_epochs(epochs)) * per_epoch
      return self.steps_for_rounds(steps, rounds) >= rounds * shortest

    return bisect.bisect_left(
      range(_MANY_EPOCHS), True, lo=self.epochs, key=fits
    )
