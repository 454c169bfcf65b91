"""The variables of the L2 ramp, which train steps read in their graph."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.schedules.l2_ramp import L2Ramp


class RampVariables(tf.Module):
  """Begin, length and limit of a round's ramp, and the penalized weights.

  All but the candidates mirror numbers of the `RunState`. The variables are
  tracked, so TensorFlow checkpoints have the candidates.
  """

  def __init__(self):
    super().__init__(name='ramp')
    self.begin = tf.Variable(0, trainable=False, dtype=tf.int64)  # Iterations.
    self.steps = tf.Variable(1, trainable=False, dtype=tf.int64)
    self.limit = tf.Variable(0.0, trainable=False)  # 0: no penalty.
    self.candidates: list[tf.Variable] = []  # One per kernel, boolean.

  def set_numbers(self, begin: int, steps: int, limit: float) -> None:
    """Sets the ramp of a round.

    Args:
      begin: the iteration at which it begins.
      steps: the number of steps over which lambda rises, at least 1.
      limit: the largest lambda; 0 for no penalty.
    """
    self.begin.assign(begin)
    self.steps.assign(steps)
    self.limit.assign(limit)

  def add_candidates(self, chosen: Iterable[np.ndarray]) -> None:
    """Creates the variables of the candidates, unless they exist.

    Args:
      chosen: a boolean array per kernel, True where the penalty applies.
    """
    if not self.candidates:
      self.candidates.extend(
        tf.Variable(values, trainable=False) for values in chosen
      )

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    """Sets the weights that the penalty applies to.

    Args:
      chosen: a boolean array per kernel, True where the penalty applies.
    """
    for variable, values in zip(self.candidates, chosen, strict=True):
      variable.assign(values)

  def l2_lambda(self, ramp: L2Ramp, iterations: Any) -> tf.Tensor:
    """Returns the current penalty coefficient; exactly 0 off the ramp.

    Args:
      ramp: the ramp of the run.
      iterations: the iterations of the optimizer, a scalar.
    """
    step = tf.maximum(tf.cast(iterations, tf.int64) - self.begin, 0)
    # As `ramp.coefficient`.
    stair = step // ramp.interval * ramp.interval
    share = tf.cast(stair, tf.float32) / tf.cast(self.steps, tf.float32)
    return self.limit * tf.minimum(share, 1.0) ** ramp.power
