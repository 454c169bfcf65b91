"""What a search is for: accuracy at a sparsity, sparsity, or both."""

import dataclasses
import math
from collections.abc import Sequence

import keras_tuner
import numpy as np

# Keras reports accuracies as float32.
_SLACK = 1e-6


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a trial's ticket has come to.

  Args:
    accuracy: the monitored value after the last epoch, higher is better.
    sparsity: fraction of zeros, in (0, 1).
  """

  accuracy: float
  sparsity: float


def front(outcomes: Sequence[Outcome]) -> list[int]:
  """Returns which outcomes no other one beats, the most accurate first.

  One beats another that it equals in accuracy and sparsity or exceeds, unless
  it equals it in both.

  >>> front([Outcome(0.9, 0.5), Outcome(0.8, 0.4), Outcome(0.7, 0.9)])
  [0, 2]
  """
  order = sorted(
    range(len(outcomes)),
    key=lambda i: (-outcomes[i].accuracy, -outcomes[i].sparsity, i),
  )
  found: list[int] = []
  for index in order:
    sparsest = outcomes[found[-1]] if found else None
    outcome = outcomes[index]
    if sparsest in (None, outcome) or outcome.sparsity > sparsest.sparsity:
      found.append(index)
  return found


class TicketObjective(keras_tuner.Objective):
  """What the objectives of tickets share.

  Args:
    monitor: a name in the epoch logs, higher is better; what counts is its
      value after the last epoch, when the ticket has its sparsity.

  Raises:
    ValueError: the monitor is no name, or of something that should fall.
  """

  def __init__(self, monitor: str):
    if not isinstance(monitor, str) or not monitor:
      raise ValueError(
        f"monitor must be a name in the epoch logs, as 'val_accuracy', but is "
        f'{monitor!r}.'
      )
    if monitor.endswith(('loss', 'error')):
      raise ValueError(
        'monitor must be something of which more is better, as an accuracy, '
        f'but is {monitor!r}.'
      )
    super().__init__(monitor, 'max')

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns a score for each outcome, higher is better.

    Args:
      outcomes: of all finished trials.
      weight: how much accuracy matters, in [0, 1], where it is weighed
        against sparsity.
    """
    raise NotImplementedError

  def order(self, outcomes: Sequence[Outcome]) -> list[int]:
    """Returns the outcomes' indices, the best first."""
    scores = self.scores(outcomes)
    return sorted(range(len(outcomes)), key=lambda i: (-scores[i], i))

  @property
  def settings(self) -> dict[str, float | str]:
    """What it was made with: a search goes on with the same."""
    own = {
      n: v for n, v in vars(self).items() if n not in ('name', 'direction')
    }
    return {'class': type(self).__name__, 'monitor': self.name, **own}


class AccuracyAtSparsity(TicketObjective):
  """The most accurate ticket; all have the sparsity that their space says.

  Args:
    monitor: a name in the epoch logs, higher is better.

  >>> AccuracyAtSparsity().scores([Outcome(0.9, 0.5), Outcome(0.8, 0.5)])
  [0.9, 0.8]
  """

  def __init__(self, monitor: str = 'val_accuracy'):
    super().__init__(monitor)

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns the accuracies."""
    del weight
    return [outcome.accuracy for outcome in outcomes]


class SparsestWithin(TicketObjective):
  """The sparsest ticket within a given loss of the dense accuracy.

  A ticket within it scores its sparsity, any other what it lacks, below 0. For
  a space with a range of `target_sparsity`.

  Args:
    loss: how much accuracy may be lost, in [0, 1): 0.01 is a percentage point.
    dense_accuracy: of the dense model, trained alike, in (0, 1].
    monitor: a name in the epoch logs, higher is better.

  Raises:
    ValueError: an argument is out of its range.

  >>> objective = SparsestWithin(0.01, dense_accuracy=0.9)
  >>> scores = objective.scores([Outcome(0.89, 0.8), Outcome(0.86, 0.95)])
  >>> [round(score, 2) for score in scores]
  [0.8, -0.03]
  """

  def __init__(
    self, loss: float, dense_accuracy: float, monitor: str = 'val_accuracy'
  ):
    super().__init__(monitor)
    if not 0 <= loss < 1:
      raise ValueError(f'loss must be in [0, 1), but is {loss}.')
    if not 0 < dense_accuracy <= 1:
      raise ValueError(
        f'dense_accuracy must be in (0, 1], but is {dense_accuracy}.'
      )
    self.loss, self.dense_accuracy = loss, dense_accuracy

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns sparsities, or what is lacking."""
    del weight
    return [self._score(outcome) for outcome in outcomes]

  def _score(self, outcome: Outcome) -> float:
    above = outcome.accuracy - (self.dense_accuracy - self.loss)
    return outcome.sparsity if above >= -_SLACK else above


class Front(TicketObjective):
  """The front of accuracy and sparsity: tickets that no other one beats.

  Each proposal of a trial weighs the two anew (augmented Chebyshev, ParEGO), so
  that a search finds all of the front and not one point. For a space with a
  range of `target_sparsity`.

  Args:
    monitor: a name in the epoch logs, higher is better.

  >>> objective = Front()
  >>> tickets = [Outcome(0.7, 0.9), Outcome(0.8, 0.4), Outcome(0.9, 0.5)]
  >>> objective.order(tickets)
  [2, 0, 1]

  From Knowles (2006), "ParEGO"; that the density counts by its logarithm is our
  choice.
  """

  _AUGMENTATION = 0.05

  def __init__(self, monitor: str = 'val_accuracy'):
    super().__init__(monitor)

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns how near the outcomes are to the best in both, 0 at most."""
    error = _to_unit([1 - outcome.accuracy for outcome in outcomes])
    density = _to_unit([math.log(1 - o.sparsity) for o in outcomes])
    worse = np.maximum(weight * error, (1 - weight) * density)
    return (-worse - self._AUGMENTATION * (error + density)).tolist()

  def order(self, outcomes: Sequence[Outcome]) -> list[int]:
    """Returns the front, the most accurate first, and then the others."""
    best = front(outcomes)
    return best + [i for i in super().order(outcomes) if i not in set(best)]


def _to_unit(values: Sequence[float]) -> np.ndarray:
  """Returns values moved and scaled to [0, 1]."""
  array = np.asarray(values, float)
  if not array.size:
    return array
  span = array.max() - array.min()
  return (array - array.min()) / (span or 1.0)
