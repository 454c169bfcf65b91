"""The coefficient lambda of an L2 ramp, computed in the graph."""

from typing import Any

import tensorflow as tf

from tf_unilth.schedules.l2_ramp import L2Ramp


def ramp_coefficient(
  ramp: L2Ramp, step: Any, limit: Any, ramp_steps: Any
) -> tf.Tensor:
  """Returns `ramp.coefficient` for tensors, a scalar float32 tensor.

  Args:
    ramp: the ramp of the run.
    step: optimizer steps since the round began, from 0; a number or tensor.
    limit: the largest lambda; a number or tensor.
    ramp_steps: T, as `ramp.ramp_steps` returns it; a number or tensor.
  """
  stair = tf.cast(step, tf.int64) // ramp.interval * ramp.interval
  share = tf.cast(stair, tf.float32) / tf.cast(ramp_steps, tf.float32)
  return limit * tf.minimum(share, 1.0) ** ramp.power
