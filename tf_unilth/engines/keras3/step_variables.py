"""What a train step of a Keras 3 model reads: masks, candidates, the ramp."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.schedules.l2_ramp import L2Ramp

ops = keras.ops


class StepVariables:
  """Masks, candidates, and begin, length and limit of a round's ramp.

  They are Keras variables, so that one traced step follows all changes. Neither
  model nor optimizer saves them.

  Args:
    masks: a boolean array per kernel, True where a weight is kept.
  """

  def __init__(self, masks: Iterable[np.ndarray]):
    self.masks = [_variable(mask, 'bool') for mask in masks]
    self.candidates: list[Any] = []  # One per kernel, where there is a ramp.
    self.begin = _variable(0, 'int32')  # Iterations.
    self.steps = _variable(1, 'int32')
    self.limit = _variable(0.0, 'float32')  # 0: no penalty.

  @property
  def numbers(self) -> list[Any]:
    """The variables of the ramp."""
    return [self.begin, self.steps, self.limit]

  @property
  def read_by_a_step(self) -> list[Any]:
    """The masks and, where there is a ramp, what it is computed from."""
    ramp = [*self.candidates, *self.numbers] if self.candidates else []
    return [*self.masks, *ramp]

  def add_candidates(self) -> None:
    """Creates the variables of the candidates, unless they exist."""
    if not self.candidates:
      self.candidates = [
        _variable(np.zeros(mask.shape, bool), 'bool') for mask in self.masks
      ]

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    """Sets the weights that the penalty applies to.

    Args:
      chosen: a boolean array per kernel, True where the penalty applies.
    """
    for variable, values in zip(self.candidates, chosen, strict=True):
      variable.assign(values)

  def set_ramp(self, begin: int, steps: int, limit: float) -> None:
    """Sets the ramp of a round.

    Args:
      begin: the iteration at which it begins.
      steps: the number of steps over which lambda rises, at least 1.
      limit: the largest lambda; 0 for no penalty.
    """
    self.begin.assign(begin)
    self.steps.assign(steps)
    self.limit.assign(limit)

  def l2_lambda(self, ramp: L2Ramp, iterations: Any) -> Any:
    """Returns the penalty coefficient at an iteration; 0 off the ramp.

    Args:
      ramp: the ramp of the run.
      iterations: the iterations of the optimizer, a scalar.
    """
    step = ops.maximum(ops.cast(iterations, 'int32') - self.begin.value, 0)
    # As `ramp.coefficient`.
    stair = step // ramp.interval * ramp.interval
    share = ops.cast(stair, 'float32') / ops.cast(self.steps.value, 'float32')
    return self.limit.value * ops.minimum(share, 1.0) ** float(ramp.power)


def _variable(value: Any, dtype: str) -> Any:
  return keras.Variable(value, dtype=dtype, trainable=False)
