"""How many zeros each layer gets."""

import math
from collections.abc import Sequence

import numpy as np

SCOPES = ('global', 'layer', 'erk')


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
  min_units_kept: int = 1,
) -> list[int]:
  """Returns how many zeros each weight gets where layers are ranked apart.

  Args:
    shapes: the shape of each weight.
    sparsity: the fraction of zeros over all of them, in [0, 1).
    total: the exact number of zeros over all of them.
    scope: `'layer'`, the same sparsity for each, or `'erk'`.
    pruned: how many zeros each has already.
    min_units_kept: how many of each are left at least.
  """
  sizes = [math.prod(shape) for shape in shapes]
  if scope == 'erk':
    shares = erk_sparsities(shapes, sparsity)
  else:
    shares = [sparsity] * len(shapes)
  quotas = [share * size for share, size in zip(shares, sizes, strict=True)]
  return apportion(
    total, quotas, pruned, [size - min_units_kept for size in sizes]
  )
