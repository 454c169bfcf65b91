"""The L2 ramp: the coefficient lambda per step, and the choice of its limit."""

import dataclasses

import numpy as np

from tf_unilth.argument_checks import argument_error, check_float, check_int

# The share of a round over which lambda rises; it is constant for the rest. In
# DLTH's own settings, lambda rises for 50,000 of 90,000 steps.
RAMP_SHARE = 0.5
# Steps are counted in 32 bits.
_LONGEST_RAMP = 2**31


@dataclasses.dataclass(frozen=True)
class L2Ramp:
  """A ramped L2 penalty, 1/2 lambda(t) sum w^2, on the weights to prune next.

  lambda(t) = limit * min(t / T, 1)^power, where t = 0, 1, ... counts optimizer
  steps since the round began. lambda rises over the first half of a round (T
  steps), is constant for the rest and is 0 outside of rounds. With `increment`,
  lambda rises in stairs as in the DLTH code: T = interval * limit / increment,
  and t is rounded down to a multiple of `interval`.

  The shrink exponent A measures the strength of a ramp: without a gradient of
  the loss, a weight shrinks by the factor exp(-A), where A is the sum over the
  steps of learning rate * lambda / (1 - momentum).

  Args:
    limit: the largest lambda, at least 0, capped where training would become
      unstable. `None` chooses it from the learning rate and the round's length
      so that A has the algorithm's value, as far as the cap allows. 0 disables
      the ramp.
    power: the exponent of the ramp, at least 0. 0 is a constant penalty.
    increment: the rise of lambda per stair, above 0; requires a `limit` above
      0. `None` derives the ramp from the length of the round.
    interval: optimizer steps per stair, at least 1.

  Raises:
    ValueError: an argument is out of range.

  >>> ramp = L2Ramp(limit=0.1, power=2)
  >>> [round(float(ramp.coefficient(t, 0.1, 10)), 4) for t in (0, 5, 10, 20)]
  [0.0, 0.025, 0.1, 0.1]

  The penalty on a chosen set of weights and the stairs are from Bai et al.
  (2022), DLTH, after Wang et al. (2021), GReg. The UniLTH text fixes only an
  increasing, "non-linear" penalty; its form, limit and length are our choice.
  """

  limit: float | None = None
  power: float = 1
  increment: float | None = None
  interval: int = 1

  def __post_init__(self):
    checked = {
      'limit': check_float('limit', self.limit, '[0, inf)', none=True),
      'power': check_float('power', self.power, '[0, inf)'),
      'increment': check_float(
        'increment', self.increment, '(0, inf)', none=True
      ),
      'interval': check_int('interval', self.interval, 1),
    }
    for name, value in checked.items():
      object.__setattr__(self, name, value)
    if self.increment is not None and not self.limit:
      raise ValueError(
        f'increment={self.increment} needs a limit > 0, but limit is '
        f'{self.limit}.'
      )
    if self.increment is not None and self.limit is not None:
      least = self.limit * self.interval / _LONGEST_RAMP
      if self.increment < least:
        raise argument_error(
          'increment',
          f'at least limit * interval / 2^31 = {least:.3g}, or lambda would '
          'not rise in any training',
          self.increment,
        )

  def ramp_steps(self, round_steps: int) -> int:
    """Returns T, the number of steps over which lambda rises in a round.

    Args:
      round_steps: the length of the round in optimizer steps.
    """
    if self.increment is None or self.limit is None:
      return max(1, int(RAMP_SHARE * round_steps))
    return self.interval * max(1, round(self.limit / self.increment))

  def coefficient(self, step: int, limit: float, ramp_steps: int) -> np.float32:
    """Returns lambda at a step of a round.

    Args:
      step: optimizer steps since the round began, from 0.
      limit: the largest lambda.
      ramp_steps: T, as `ramp_steps` returns it.
    """
    stair = step // self.interval * self.interval
    share = np.float32(stair) / np.float32(ramp_steps)
    rise = np.minimum(share, np.float32(1)) ** np.float32(self.power)
    return np.float32(limit) * rise

  def shape(self, positions: np.ndarray, round_steps: int) -> np.ndarray:
    """Returns lambda / limit at some positions of a round.

    Args:
      positions: fractions of the round in [0, 1], shape (n,).
      round_steps: the length of the round in optimizer steps.
    """
    share = positions * round_steps / self.ramp_steps(round_steps)
    return np.minimum(share, 1.0) ** self.power


def limit_for(
  strength: float,
  step_sizes: np.ndarray,
  shape: np.ndarray,
  steps: int,
) -> float:
  """Returns the limit that gives a round the shrink exponent `strength`.

  Args:
    strength: A, at least 0.
    step_sizes: learning rate / (1 - momentum) at n positions of the round,
      shape (n,).
    shape: lambda / limit at the same positions, in [0, 1], shape (n,).
    steps: the length of the round in optimizer steps.

  Returns:
    The limit; 0 where the step sizes or the ramp are 0.
  """
  per_limit = float(np.mean(step_sizes * shape)) * steps
  return strength / per_limit if per_limit > 0 else 0.0
