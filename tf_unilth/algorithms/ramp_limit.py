"""The limit of a ramp over the next round, and how far it shrinks weights."""

import numpy as np

from tf_unilth.engines.engine import StepSizes
from tf_unilth.schedules.l2_ramp import L2Ramp, limit_for


def ramp_limit(
  ramp: L2Ramp, sizes: StepSizes, exponent: float, steps: int
) -> tuple[float, float]:
  """Returns a ramp's limit over the next steps, and its shrink exponent A.

  Args:
    ramp: its own limit applies if it has one.
    sizes: how far the optimizer moves weights over these steps.
    exponent: the shrink exponent A for a ramp without a limit, at least 0.
    steps: the number of steps of the round, at least 1.

  Returns:
    The limit, at most `sizes.largest_lambda`, and the A that it gives.
  """
  profile = ramp.shape(sizes.positions, steps)
  limit = ramp.limit
  if limit is None:
    limit = limit_for(exponent, sizes.sizes, profile, steps)
  limit = min(limit, sizes.largest_lambda)
  return limit, limit * float(np.mean(sizes.sizes * profile)) * steps
