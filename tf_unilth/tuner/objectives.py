"""Objectives of a search: accuracy, sparsity, or both."""

import dataclasses
import math
from collections.abc import Sequence

import keras_tuner
import numpy as np

from tf_unilth.argument_checks import argument_error, check_float, check_str

# Keras reports accuracies as float32.
_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Accuracy and sparsity of a trial's ticket.

  Args:
    accuracy: monitored value after the last epoch; higher is better.
    sparsity: fraction of zeros, in (0, 1).
  """

  accuracy: float
  sparsity: float


def front(outcomes: Sequence[Outcome]) -> list[int]:
  """Returns the indices of the Pareto front, the most accurate first.

  An outcome is on the front unless another one is at least equal in accuracy
  and sparsity, and better in one of them.

  Args:
    outcomes: any number, in any order.

  >>> front([Outcome(0.9, 0.5), Outcome(0.8, 0.4), Outcome(0.7, 0.9)])
  [0, 2]
  """
  order = sorted(
    range(len(outcomes)),
    key=lambda i: (-outcomes[i].accuracy, -outcomes[i].sparsity, i),
  )
  indices: list[int] = []
  for index in order:
    sparsest = outcomes[indices[-1]] if indices else None
    outcome = outcomes[index]
    if sparsest in (None, outcome) or outcome.sparsity > sparsest.sparsity:
      indices.append(index)
  return indices


class TicketObjective(keras_tuner.Objective):
  """Base class of the objectives.

  Args:
    monitor: key in the epoch logs; higher is better. The value after the last
      epoch counts, when the ticket has its target sparsity.

  Raises:
    ValueError: `monitor` is not a key, or is a loss or an error.
  """

  def __init__(self, monitor: str):
    check_str('monitor', monitor)
    if monitor.endswith(('loss', 'error')):
      raise argument_error(
        'monitor', "a value to maximize, such as 'val_accuracy'", monitor
      )
    super().__init__(monitor, 'max')

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns a score for each outcome; higher is better.

    Args:
      outcomes: outcomes of all completed trials.
      weight: weight of accuracy against sparsity, in [0, 1]. Only `Front`
        reads it.
    """
    raise NotImplementedError

  def order(self, outcomes: Sequence[Outcome]) -> list[int]:
    """Returns the indices of the outcomes, the best first.

    Args:
      outcomes: outcomes of all completed trials.
    """
    scores = self.scores(outcomes)
    return sorted(range(len(outcomes)), key=lambda i: (-scores[i], i))

  @property
  def settings(self) -> dict[str, float | str]:
    """The class and arguments, which a resumed search must repeat."""
    own = {
      n: v for n, v in vars(self).items() if n not in ('name', 'direction')
    }
    return {'class': type(self).__name__, 'monitor': self.name, **own}


class AccuracyAtSparsity(TicketObjective):
  """Highest accuracy, for a space with one target sparsity.

  Args:
    monitor: key in the epoch logs; higher is better.

  Raises:
    ValueError: `monitor` is not a key, or is a loss or an error.

  >>> AccuracyAtSparsity().scores([Outcome(0.9, 0.5), Outcome(0.8, 0.5)])
  [0.9, 0.8]
  """

  def __init__(self, monitor: str = 'val_accuracy'):
    super().__init__(monitor)

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns the accuracies; ignores `weight`."""
    del weight
    return [outcome.accuracy for outcome in outcomes]


class SparsestWithin(TicketObjective):
  """Highest sparsity within an allowed loss of accuracy.

  A ticket within the allowed loss scores its sparsity. Any other scores the
  accuracy that it lacks, a negative number. For a space with a range of
  `target_sparsity`.

  Args:
    loss: allowed loss of accuracy, in [0, 1): 0.01 is one percentage point.
    dense_accuracy: accuracy of the dense model after the same training, in
      (0, 1].
    monitor: key in the epoch logs; higher is better.

  Raises:
    ValueError: an argument is out of range.

  >>> objective = SparsestWithin(0.01, dense_accuracy=0.9)
  >>> scores = objective.scores([Outcome(0.89, 0.8), Outcome(0.86, 0.95)])
  >>> [round(score, 2) for score in scores]
  [0.8, -0.03]
  """

  def __init__(
    self, loss: float, dense_accuracy: float, monitor: str = 'val_accuracy'
  ):
    super().__init__(monitor)
    self.loss = check_float('loss', loss, '[0, 1)')
    self.dense_accuracy = check_float(
      'dense_accuracy', dense_accuracy, '(0, 1]'
    )

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns sparsities, or negative accuracies; ignores `weight`."""
    del weight
    return [self._score(outcome) for outcome in outcomes]

  def _score(self, outcome: Outcome) -> float:
    margin = outcome.accuracy - (self.dense_accuracy - self.loss)
    return outcome.sparsity if margin >= -_TOLERANCE else margin


class Front(TicketObjective):
  """The Pareto front of accuracy and sparsity.

  Each proposal draws a new weight of accuracy against sparsity (augmented
  Chebyshev scalarization, ParEGO), so that a search covers the whole front
  instead of one point. For a space with a range of `target_sparsity`.

  Args:
    monitor: key in the epoch logs; higher is better.

  Raises:
    ValueError: `monitor` is not a key, or is a loss or an error.

  >>> objective = Front()
  >>> tickets = [Outcome(0.7, 0.9), Outcome(0.8, 0.4), Outcome(0.9, 0.5)]
  >>> objective.order(tickets)
  [2, 0, 1]

  From Knowles (2006), "ParEGO"; the logarithm of the density is our choice.
  """

  _AUGMENTATION = 0.05

  def __init__(self, monitor: str = 'val_accuracy'):
    super().__init__(monitor)

  def scores(
    self, outcomes: Sequence[Outcome], weight: float = 0.5
  ) -> list[float]:
    """Returns negative distances to the best accuracy and sparsity."""
    error = _to_unit([1 - outcome.accuracy for outcome in outcomes])
    density = _to_unit([math.log(1 - o.sparsity) for o in outcomes])
    worse = np.maximum(weight * error, (1 - weight) * density)
    return (-worse - self._AUGMENTATION * (error + density)).tolist()

  def order(self, outcomes: Sequence[Outcome]) -> list[int]:
    """Returns the front, the most accurate first, followed by the others."""
    best = front(outcomes)
    return best + [i for i in super().order(outcomes) if i not in set(best)]


def _to_unit(values: Sequence[float]) -> np.ndarray:
  """Returns values scaled and shifted to [0, 1]."""
  array = np.asarray(values, float)
  if not array.size:
    return array
  span = array.max() - array.min()
  return (array - array.min()) / (span or 1.0)
