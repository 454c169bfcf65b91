"""The number of zeros of each layer, where layers are ranked separately."""

import math
from collections.abc import Sequence

import numpy as np

SCOPES = ('global', 'layer', 'erk')


def erk_sparsities(
  shapes: Sequence[tuple[int, ...]], sparsity: float
) -> list[float]:
  """Returns the Erdos-Renyi-kernel (ERK) sparsity of each kernel.

  The density of a kernel is eps * sum(shape) / prod(shape), at most 1, where
  one eps for all kernels gives the total sparsity (Evci et al. 2020, RigL).

  Args:
    shapes: the shape of each kernel.
    sparsity: the fraction of zeros over all kernels, in [0, 1).

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
  """Returns integers close to `quotas` whose sum is exactly `total`.

  This is the largest remainder method within bounds. The lower bounds are the
  zeros of earlier rounds: without them, rounding could restore a pruned weight.

  Args:
    total: the sum, in [sum(lower), sum(upper)].
    quotas: the real-valued share of each kernel.
    lower: the smallest integer for each kernel.
    upper: the largest integer for each kernel.

  >>> apportion(5, [1.4, 1.4, 2.2], [0, 0, 0], [9, 9, 9])
  [2, 1, 2]
  """
  low, high = np.array(lower), np.array(upper)
  wanted = np.asarray(quotas, float)
  counts = np.clip(np.floor(wanted).astype(int), low, high)
  while gap := total - int(counts.sum()):
    sign = 1 if gap > 0 else -1
    room = np.flatnonzero(counts < high if gap > 0 else counts > low)
    # The count furthest from its quota changes first; on ties, the lower index.
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
  """Returns the number of zeros of each kernel, where each is ranked alone.

  Args:
    shapes: the shape of each kernel.
    sparsity: the fraction of zeros over all kernels, in [0, 1).
    total: the exact number of zeros over all kernels.
    scope: `'layer'`, the same sparsity for each kernel, or `'erk'`.
    pruned: the present number of zeros of each kernel.
    min_units_kept: the smallest number of elements to keep in each kernel.
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
