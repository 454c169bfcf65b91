"""Student's t: how far a mean of few values can be from the true one."""

import functools
import math

_LEVEL = 0.95


def within(t: float, degrees: int) -> float:
  """Returns the probability that Student's t is between -t and t.

  By the finite sums for whole degrees of freedom (Abramowitz & Stegun, 26.7.3
  and 26.7.4).

  Args:
    t: at least 0.
    degrees: of freedom, at least 1.

  >>> round(within(1.0, 1), 6), round(within(2.776445, 4), 6)
  (0.5, 0.95)
  """
  angle = math.atan2(t, math.sqrt(degrees))
  sine, cosine = math.sin(angle), math.cos(angle)
  odd = degrees % 2
  term = cosine if odd else 1.0
  total = 0.0
  for power in range(1 + odd, degrees, 2):
    total += term
    term *= cosine**2 * power / (power + 1)
  return 2 / math.pi * (angle + sine * total) if odd else sine * total


@functools.cache
def half_width(degrees: int) -> float:
  """Returns half of the 95% interval of a mean, in standard errors.

  Args:
    degrees: of freedom, one fewer than there are values; at least 1.

  >>> [round(half_width(degrees), 3) for degrees in (1, 2, 4, 30)]
  [12.706, 4.303, 2.776, 2.042]
  """
  low, high = 0.0, 13.0
  for _ in range(60):
    middle = (low + high) / 2
    if within(middle, degrees) < _LEVEL:
      low = middle
    else:
      high = middle
  return high
