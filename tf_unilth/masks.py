"""Which weights go: exact counts and selections on plain arrays, no Keras.

A mask is a boolean array, True where the weight is kept. A sparsity is a
fraction of zeros in [0, 1). Counts are exact: a selection removes precisely
as many weights as it was asked to, ties broken by index. Where weights go
together, what is said of weights here holds of their units (`structure.py`).
"""

import bisect
import math
from collections.abc import Sequence

import numpy as np

from tf_unilth.ranks import Ranks, each_without_smallest, without_smallest

PACES = ('geometric', 'cubic')
SCOPES = ('global', 'layer', 'erk')
# More than any training has steps.
_MOST_ROUNDS = 10**9


def zeros_at(sparsity: float, total: int) -> int:
  """Returns the exact number of zeros: round(sparsity * total).

  >>> zeros_at(0.9, 25)
  22
  """
  return round(sparsity * total)


def sparsity_at_round(
  target_sparsity: float, completed: int, rounds: int, pace: str
) -> float:
  """Returns the sparsity after `completed` of `rounds` rounds.

  Geometric: s_r = 1 - (1 - s)^(r / R), each round removes the same share of
  the survivors (Frankle & Carbin 2019). Cubic: s_r = s (1 - (1 - r / R)^3),
  fast first and slow in the end (Zhu & Gupta 2017).

  Args:
    target_sparsity: s, fraction of zeros in [0, 1).
    completed: r, in [0, rounds].
    rounds: R, at least 1.
    pace: `'geometric'` or `'cubic'`.

  >>> [round(sparsity_at_round(0.9, r, 3, 'geometric'), 3) for r in range(4)]
  [0.0, 0.536, 0.785, 0.9]
  >>> [round(sparsity_at_round(0.9, r, 3, 'cubic'), 3) for r in range(4)]
  [0.0, 0.633, 0.867, 0.9]
  """
  if completed >= rounds:
    return target_sparsity  # Exactly, whatever the powers round to.
  done = completed / rounds
  if pace == 'geometric':
    return 1 - (1 - target_sparsity) ** done
  return target_sparsity * (1 - (1 - done) ** 3)


def rounds_needed(
  target_sparsity: float, prune_fraction: float, pace: str
) -> int:
  """Returns the fewest rounds of which none prunes more than its share.

  For the geometric pace this is R = ceil(ln(1 - s) / ln(1 - p)); the cubic
  pace, whose share changes, takes the smallest R whose largest share is p.

  Args:
    target_sparsity: s, fraction of zeros in [0, 1).
    prune_fraction: p, the largest share of the survivors that one round
      removes, in (0, 1).
    pace: `'geometric'` or `'cubic'`.

  >>> rounds_needed(0.95, 0.2, 'geometric'), rounds_needed(0.95, 0.2, 'cubic')
  (14, 19)
  """
  if target_sparsity == 0:
    return 0
  survival = math.log1p(-target_sparsity) / math.log1p(-prune_fraction)
  # Every pace needs at least the geometric number. The slack forgives the
  # last bit of the division, as in ln(0.64) / ln(0.8) = 2.0000000000000004.
  fewest = max(1, math.ceil(min(survival - 1e-9, _MOST_ROUNDS)))
  if pace == 'geometric' or fewest == _MOST_ROUNDS:
    return fewest
  # The largest share falls with the number of rounds.
  return fewest + bisect.bisect_left(
    range(fewest, _MOST_ROUNDS),
    -(prune_fraction + 1e-9),
    key=lambda rounds: -_largest_share(target_sparsity, rounds, pace),
  )


def _largest_share(target_sparsity: float, rounds: int, pace: str) -> float:
  """Returns the largest share of the survivors that a round removes."""
  # Of the derivative, 3 s x^2 / (1 - s + s x^3), where x = 1 - r / R.
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


def erk_sparsities(
  shapes: Sequence[tuple[int, ...]], sparsity: float
) -> list[float]:
  """Returns the Erdos-Renyi-kernel sparsity of each weight.

  The density of a weight is eps * sum(shape) / prod(shape), at most 1, with
  the one eps that meets the total (Evci et al. 2020, RigL).

  >>> [round(s, 3) for s in erk_sparsities([(3, 3, 1, 8), (128, 10)], 0.5)]
  [0.08, 0.524]
  """
  sizes = np.array([math.prod(shape) for shape in shapes], float)
  raw = np.array([sum(shape) for shape in shapes], float) / sizes
  dense = np.zeros(len(shapes), bool)
  while not dense.all():
    budget = (1 - sparsity) * sizes.sum() - sizes[dense].sum()
    scale = budget / (raw * sizes)[~dense].sum()
    density = np.where(dense, 1.0, raw * scale)
    if density.max() <= 1:
      return [float(s) for s in 1 - density]
    dense |= density > 1
  return [0.0] * len(shapes)


def apportion(
  total: int,
  quotas: Sequence[float],
  lower: Sequence[int],
  upper: Sequence[int],
) -> list[int]:
  """Returns whole numbers near `quotas` that add up to `total` exactly.

  Largest remainder within bounds. The lower bounds are what earlier rounds
  took already: without them rounding could give a weight back.

  Args:
    total: the sum to meet, in [sum(lower), sum(upper)].
    quotas: the real-valued share of each.
    lower: the least that each may get.
    upper: the most that each may get.

  >>> apportion(5, [1.4, 1.4, 2.2], [0, 0, 0], [9, 9, 9])
  [2, 1, 2]
  """
  low, high = np.array(lower), np.array(upper)
  wanted = np.asarray(quotas, float)
  counts = np.clip(np.floor(wanted).astype(int), low, high)
  while gap := total - int(counts.sum()):
    sign = 1 if gap > 0 else -1
    room = np.flatnonzero(counts < high if gap > 0 else counts > low)
    # Who is furthest from the wanted share moves first, lower index on a tie.
    order = np.argsort(-sign * (wanted - counts)[room], kind='stable')
    moved = room[order[: abs(gap)]]
    counts[moved] += sign * max(1, abs(gap) // room.size)
    counts = np.clip(counts, low, high)
  return counts.tolist()


def layer_zeros(
  shapes: Sequence[tuple[int, ...]],
  sparsity: float,
  total: int,
  scope: str,
  pruned: Sequence[int],
  kept: int = 1,
) -> list[int]:
  """Returns how many zeros each weight gets where layers are ranked apart.

  Args:
    shapes: the shape of each weight.
    sparsity: the fraction of zeros over all of them, in [0, 1).
    total: the exact number of zeros over all of them.
    scope: `'layer'`, the same sparsity for each, or `'erk'`.
    pruned: how many zeros each has already.
    kept: how many of each are left at least.
  """
  sizes = [math.prod(shape) for shape in shapes]
  if scope == 'erk':
    shares = erk_sparsities(shapes, sparsity)
  else:
    shares = [sparsity] * len(shapes)
  quotas = [share * size for share, size in zip(shares, sizes, strict=True)]
  return apportion(total, quotas, pruned, [size - kept for size in sizes])


def random_scores(shapes: Sequence[tuple[int, ...]], seed: int) -> list:
  """Returns one fixed random order of each weight's elements, as scores.

  The stream depends on `seed` and the position in the list alone, so that any
  process draws the same ticket.
  """
  return [
    np.random.Generator(np.random.PCG64([seed, index])).random(
      shape, np.float32
    )
    for index, shape in enumerate(shapes)
  ]


def select(
  scores: Sequence[np.ndarray],
  masks: Sequence[np.ndarray],
  sparsity: float,
  scope: str,
  kept: int = 1,
) -> list[np.ndarray]:
  """Returns the masks at `sparsity`: the smallest scores go, pruned stays so.

  Exactly round(sparsity * n) weights are zero afterwards (more only where
  there were more before), and every layer keeps at least `kept`.

  Args:
    scores: finite, one array per weight; their absolute values count. The
      weights themselves, for magnitude.
    masks: the present masks, True where kept.
    sparsity: fraction of zeros over all the arrays together, in [0, 1); in
      [0, 1] if nothing has to be kept.
    scope: `'global'` ranks all arrays together, `'layer'` and `'erk'` each
      apart.
    kept: how much of each array is left at least, 0 or 1.

  >>> scores = [np.array([3., 1., 2.]), np.array([.1, .2, .3])]
  >>> ones = [np.ones(3, bool), np.ones(3, bool)]
  >>> [mask.tolist() for mask in select(scores, ones, 0.5, 'global')]
  [[True, False, True], [False, False, True]]
  >>> [mask.tolist() for mask in select(scores, ones, 0.5, 'layer')]
  [[True, False, False], [False, True, True]]
  """
  shapes = [mask.shape for mask in masks]
  pruned = [mask.size - int(np.count_nonzero(mask)) for mask in masks]
  total = max(zeros_at(sparsity, sum(m.size for m in masks)), sum(pruned))
  ranks = [Ranks(s, m) for s, m in zip(scores, masks, strict=True)]
  if scope == 'global':
    left = without_smallest(ranks, total)
    if kept and not all(mask.any() for mask in left):
      for rank in ranks:
        rank.spare_best()
      left = without_smallest(ranks, total)
  else:
    counts = layer_zeros(shapes, sparsity, total, scope, pruned, kept)
    left = each_without_smallest(ranks, counts)
  return [mask.reshape(shape) for mask, shape in zip(left, shapes, strict=True)]
