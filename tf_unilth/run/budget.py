"""How the epochs that a user gives become stages and rounds; plain numbers."""

import math

MIN_EPOCHS = 3
# A round shorter than this teaches the network nothing before the next cut.
MIN_ROUND_STEPS = 20
DENSE_FRACTION = 0.2


def check_epochs(epochs: int, first: int) -> None:
  """Raises if too few epochs are left, after the `first`, for any algorithm."""
  if epochs < MIN_EPOCHS:
    raise ValueError(
      f'epochs must be at least {first + MIN_EPOCHS} (a ticket takes '
      f'{MIN_EPOCHS} epochs, from epoch {first} on), but is {first + epochs}.'
    )


def dense_epochs(
  epochs: int, patience: int | None, max_dense_fraction: float | None
) -> int:
  """Returns after how many epochs stage 1 ends at the latest.

  Args:
    epochs: all the epochs of the run, at least 3.
    patience: epochs without a fall that make a plateau; `None` for no plateau.
    max_dense_fraction: the largest share of the epochs, in (0, 1). `None`: a
      fifth of them, but time for a plateau: patience + 2 epochs.

  >>> dense_epochs(60, 2, None), dense_epochs(10, 2, None)
  (12, 4)
  >>> dense_epochs(10, 2, 0.3)
  3
  """
  if max_dense_fraction is None:
    wanted = max(round(DENSE_FRACTION * epochs), (patience or 0) + 2)
  else:
    wanted = max(1, round(max_dense_fraction * epochs))
  return min(wanted, epochs - 1)


def rounds_that_fit(steps: int, wanted: int, shortest: int) -> int:
  """Returns how many rounds of at least `shortest` steps fit, at least 1.

  >>> rounds_that_fit(1000, 14, 20), rounds_that_fit(100, 14, 20)
  (14, 5)
  """
  return max(1, min(wanted, steps // shortest))


def round_end(
  begin: int, steps: int, finetune_fraction: float, number: int, rounds: int
) -> int:
  """Returns the training step at which round `number` (from 1) ends.

  The rounds share the steps evenly, all but the finetuning's.

  Args:
    begin: the training step at which round 1 begins.
    steps: how many steps are left from there to the end of the run.
    finetune_fraction: the share of them that comes after the last round.
    number: which round, 0 for the beginning of the first.
    rounds: how many there are.

  >>> [round_end(100, 200, 0.4, number, 3) for number in (0, 1, 2, 3)]
  [100, 140, 180, 220]
  """
  pruning_steps = math.floor((1 - finetune_fraction) * steps + 1e-9)
  return begin + pruning_steps * number // rounds
