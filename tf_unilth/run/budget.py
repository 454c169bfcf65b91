"""Divides the epochs of a `fit` into stages and rounds."""

import math

MIN_EPOCHS = 3
# In fewer steps the network learns nothing before the next round prunes.
MIN_ROUND_STEPS = 20
DENSE_FRACTION = 0.2


def check_epochs(epochs: int, first: int) -> None:
  """Raises an error if a run has too few epochs for any algorithm.

  Args:
    epochs: the epochs of the run.
    first: the epochs of `fit` before the run, its initial epoch.

  Raises:
    ValueError: there are fewer than `MIN_EPOCHS`.
  """
  if epochs < MIN_EPOCHS:
    raise ValueError(
      f'epochs must be at least {first + MIN_EPOCHS} (a ticket needs '
      f'{MIN_EPOCHS} epochs, from epoch {first} on), but is {first + epochs}.'
    )


def dense_epochs(
  epochs: int, patience: int | None, max_dense_fraction: float | None
) -> int:
  """Returns the largest number of epochs for stage 1, the dense training.

  Args:
    epochs: all epochs of the run, at least 3.
    patience: the epochs without an improvement that make a plateau; `None`
      disables the plateau.
    max_dense_fraction: the largest share of the epochs, in (0, 1). `None`: a
      fifth, but at least patience + 2 epochs, enough for a plateau.

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
  """Returns the number of rounds that fit, at most `wanted` and at least 1.

  Args:
    steps: the steps of all rounds together.
    wanted: the largest number of rounds, at least 1.
    shortest: the fewest steps of a round, at least 1.

  >>> rounds_that_fit(1000, 14, 20), rounds_that_fit(100, 14, 20)
  (14, 5)
  """
  return max(1, min(wanted, steps // shortest))


def round_end(
  begin: int, steps: int, finetune_fraction: float, number: int, rounds: int
) -> int:
  """Returns the training step at which round `number` (from 1) ends.

  The rounds divide the steps before the finetuning evenly.

  Args:
    begin: the training step at which round 1 begins.
    steps: the steps from there to the end of the run.
    finetune_fraction: the share of `steps` after the last round, in [0, 1].
    number: the round, from 1; 0 returns the beginning of round 1.
    rounds: the number of rounds, at least 1.

  >>> [round_end(100, 200, 0.4, number, 3) for number in (0, 1, 2, 3)]
  [100, 140, 180, 220]
  """
  pruning_steps = math.floor((1 - finetune_fraction) * steps + 1e-9)
  return begin + pruning_steps * number // rounds
