"""The sparsity after each round, and the number of rounds."""

import bisect
import math

import numpy as np

PACES = ('geometric', 'cubic')

# More rounds than any training has steps.
_MAX_ROUNDS = 10**9


def zeros_at(sparsity: float, total: int) -> int:
  """Returns the exact number of zeros: round(sparsity * total).

  Args:
    sparsity: the fraction of zeros, in [0, 1].
    total: the number of weights.

  >>> zeros_at(0.9, 25)
  22
  """
  return round(sparsity * total)


def sparsity_at_round(
  target_sparsity: float, completed: int, rounds: int, pace: str
) -> float:
  """Returns the sparsity after `completed` of `rounds` rounds.

  Geometric: s_r = 1 - (1 - s)^(r / R); each round prunes the same share of the
  survivors (Frankle & Carbin 2019). Cubic: s_r = s (1 - (1 - r / R)^3); early
  rounds prune more than late ones (Zhu & Gupta 2017).

  Args:
    target_sparsity: s, the fraction of zeros, in [0, 1).
    completed: r, in [0, rounds].
    rounds: R, at least 1.
    pace: `'geometric'` or `'cubic'`.

  >>> [round(sparsity_at_round(0.9, r, 3, 'geometric'), 3) for r in range(4)]
  [0.0, 0.536, 0.785, 0.9]
  >>> [round(sparsity_at_round(0.9, r, 3, 'cubic'), 3) for r in range(4)]
  [0.0, 0.633, 0.867, 0.9]
  """
  if completed >= rounds:
    return target_sparsity  # Exact, without the rounding of the powers.
  done = completed / rounds
  if pace == 'geometric':
    return 1 - (1 - target_sparsity) ** done
  return target_sparsity * (1 - (1 - done) ** 3)


def rounds_needed(
  target_sparsity: float, prune_fraction: float, pace: str
) -> int:
  """Returns the fewest rounds that each prune at most `prune_fraction`.

  For the geometric pace this is R = ceil(ln(1 - s) / ln(1 - p)). For the cubic
  pace, whose share changes, it is the smallest R with a largest share of at
  most p.

  Args:
    target_sparsity: s, the fraction of zeros, in [0, 1).
    prune_fraction: p, the largest share of the survivors that one round prunes,
      in (0, 1).
    pace: `'geometric'` or `'cubic'`.

  >>> rounds_needed(0.95, 0.2, 'geometric'), rounds_needed(0.95, 0.2, 'cubic')
  (14, 19)
  """
  if target_sparsity == 0:
    return 0
  survival = math.log1p(-target_sparsity) / math.log1p(-prune_fraction)
  # Every pace needs at least the geometric number. The tolerance absorbs the
  # rounding of the division, as in ln(0.64) / ln(0.8) = 2.0000000000000004.
  fewest = max(1, math.ceil(min(survival - 1e-9, _MAX_ROUNDS)))
  if pace == 'geometric' or fewest == _MAX_ROUNDS:
    return fewest
  # The largest share decreases with the number of rounds.
  return fewest + bisect.bisect_left(
    range(fewest, _MAX_ROUNDS),
    -(prune_fraction + 1e-9),
    key=lambda rounds: -_largest_share(target_sparsity, rounds, pace),
  )


def _largest_share(target_sparsity: float, rounds: int, pace: str) -> float:
  """Returns the largest share of the survivors that a round prunes."""
  # The maximum of the continuous rate 3 s x^2 / (1 - s + s x^3), x = 1 - r / R.
  steepest = min(1.0, (2 * (1 / target_sparsity - 1)) ** (1 / 3))
  middle = round((1 - steepest) * rounds)
  first, last = max(0, middle - 3), min(rounds, middle + 3)
  density = 1 - np.array(
    [
      sparsity_at_round(target_sparsity, r, rounds, pace)
      for r in range(first, last + 1)
    ]
  )
  return float(np.max(1 - density[1:] / density[:-1]))
