"""Which weights go: exact counts and selections on plain arrays, no Keras.

A mask is a boolean array, True where the weight is kept. A sparsity is a
fraction of zeros in [0, 1). Counts are exact: a selection removes precisely
as many weights as it was asked to, ties broken by index. Where weights go
together, what is said of weights here holds of their units (`structure.py`).
"""

import bisect
import concurrent.futures
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

PACES = ('geometric', 'cubic')
SCOPES = ('global', 'layer', 'erk')
# More than any training has steps.
_MOST_ROUNDS = 10**9
# How many values are worked on at once.
_PIECE = 1 << 18


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


def _in_pieces(
  function: Callable[..., Any], *groups: Sequence[np.ndarray]
) -> list[Any]:
  """Returns what a function returns for pieces of flat arrays, in any order.

  A piece stays in the cache of a core while it is worked on, and all cores
  work: NumPy lets go of the interpreter meanwhile.

  Args:
    function: of a piece of an array of each group.
    *groups: as many arrays each, of the same sizes.
  """
  pieces = [
    [array[begin : begin + _PIECE] for array in arrays]
    for arrays in zip(*groups, strict=True)
    for begin in range(0, arrays[0].size, _PIECE)
  ]
  few = sum(array.size for array in groups[0]) <= _PIECE
  workers = 1 if few else os.cpu_count() or 1

  def work(first: int) -> list[Any]:
    return [function(*piece) for piece in pieces[first::workers]]

  if few:
    return work(0)
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    return [found for part in pool.map(work, range(workers)) for found in part]


def _kth_smallest(arrays: Sequence[np.ndarray], count: int) -> float:
  """Returns the `count`-th smallest value of flat arrays together.

  A sample brackets the value, so that only the few values in the bracket are
  copied and partitioned; copies of all weights cost more than the selection.
  """
  total = sum(array.size for array in arrays)
  # To sort n^(2/3) of n values costs about as much as to partition those that
  # they leave in the bracket, which are about as many.
  step = round(total ** (1 / 3))
  sample = np.sort(np.concatenate([array[::step] for array in arrays]))
  place, slack = count / total * sample.size, 2 * sample.size**0.5
  first, last = int(place - slack), int(place + slack)
  low = sample[first] if first >= 0 else -np.inf
  high = sample[last] if last < sample.size else np.inf

  def bracketed(piece: np.ndarray) -> tuple[int, np.ndarray]:
    lower = piece < low
    return int(np.count_nonzero(lower)), piece[(piece <= high) ^ lower]

  found = _in_pieces(bracketed, arrays)
  below = sum(number for number, _ in found)
  inside = np.concatenate([values for _, values in found])
  if not below < count <= below + inside.size:  # An unlucky sample.
    below, inside = 0, np.concatenate(arrays)
  rank = count - below - 1
  return np.partition(inside, rank)[rank]


def _others(arrays: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
  """Returns where the `count` smallest of flat arrays do not lie.

  In linear time.
  """
  if count == 0:
    return [np.ones(array.size, bool) for array in arrays]
  threshold = _kth_smallest(arrays, count)
  others = [np.empty(array.size, bool) for array in arrays]
  _in_pieces(lambda a, out: np.greater(a, threshold, out=out), arrays, others)
  # Ties at the threshold go by index, the last ones stay: to take all or none
  # of them would miss the count.
  surplus = sum(o.size - np.count_nonzero(o) for o in others) - count
  for array, outside in zip(reversed(arrays), reversed(others), strict=True):
    if surplus:
      ties = np.flatnonzero(array == threshold)[-surplus:]
      outside[ties] = True
      surplus -= ties.size
  return others


def _rank(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Returns scores by which what is pruned goes first."""
  rank = np.empty_like(score)

  def fill(piece: np.ndarray, kept: np.ndarray, out: np.ndarray) -> None:
    # score * 1 - 0 or score * 0 - 1; to choose takes four times as long.
    np.multiply(piece, kept, out=out)
    np.subtract(out, ~kept, out=out)

  _in_pieces(fill, [score], [mask], [rank])
  return rank


def _without_best(rank: np.ndarray) -> np.ndarray:
  """Returns ranks in which the best one is not to be had.

  Of equal ones it is the last, because ties go by index.
  """
  best = rank == rank.max()
  result = rank.copy()
  result[rank.size - 1 - np.argmax(best[::-1])] = np.inf
  return result


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
    scores: finite and not negative, one array per weight; |w| for magnitude.
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
  ranks = [
    _rank(score.ravel(), mask.ravel()) if count else score.ravel()
    for score, mask, count in zip(scores, masks, pruned, strict=True)
  ]
  if scope == 'global':
    left = _others(ranks, total)
    if kept and not all(mask.any() for mask in left):
      left = _others([_without_best(rank) for rank in ranks], total)
  else:
    counts = layer_zeros(shapes, sparsity, total, scope, pruned, kept)
    left = [
      _others([rank], count)[0]
      for rank, count in zip(ranks, counts, strict=True)
    ]
  return [mask.reshape(shape) for mask, shape in zip(left, shapes, strict=True)]
