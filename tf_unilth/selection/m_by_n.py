"""The structure with m zeros in each n consecutive weights."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tf_unilth.selection.unit import Structure


@dataclasses.dataclass(frozen=True)
class MByN(Structure):
  """m zeros in each n consecutive weights along the input axis of a kernel.

  A unit is a group of n consecutive weights. Pruning a group removes its m
  weights with the smallest scores; the score of the group is their mean. A
  shorter group at the end of the axis is treated as padded with zeros to n, as
  in tfmot and on accelerators: it is pruned to n - m weights, and is not a unit
  if it has no more than that. After the last round all groups are pruned; each
  round before prunes a share of them.

  Args:
    m: the zeros of a group, in [1, n).
    n: the consecutive weights of a group, at least 2.
    axis: the input axis of the kernel, negative. It is ignored in comparisons,
      because the input axis differs between the layers of one model.

  Raises:
    ValueError: an argument is out of range.

  >>> scores, ones = np.array([[4., 3., 1., 2.]]), np.ones((1, 4), bool)
  >>> two_of_four = MByN(2, 4, axis=-1)
  >>> two_of_four.scores_to_units(scores, ones).tolist()
  [[1.5]]
  >>> two_of_four.to_weights(np.array([[False]]), scores, ones).tolist()
  [[True, True, False, False]]
  """

  m: int
  n: int
  axis: int = dataclasses.field(default=-2, compare=False)

  unit_name = 'group'
  min_units_kept = 0  # A pruned group keeps n - m weights.

  def __post_init__(self):
    if not 1 <= self.m < self.n:
      raise ValueError(
        'sparsity_m_by_n must be (m, n) with 1 <= m < n, but is '
        f'{(self.m, self.n)}.'
      )
    if self.axis >= 0:
      raise ValueError(f'axis must be negative, but is {self.axis}.')

  @property
  def argument(self) -> str:
    """The `sparsity_m_by_n`."""
    return f'sparsity_m_by_n={(self.m, self.n)}'

  @property
  def needs(self) -> str:
    """At least n weights along the input axis."""
    return (
      f'{self.argument} needs at least {self.n} weights along axis {self.axis}'
    )

  def fits(self, shape: Sequence[int]) -> bool:
    """Returns whether the kernel has at least n weights along its axis."""
    return len(shape) >= max(2, -self.axis) and shape[self.axis] >= self.n

  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    """Returns which groups have fewer than m zeros, one element per group."""
    return np.count_nonzero(~self._groups(mask, False), axis=-1) < self.m

  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the mean absolute score of the weights that each group loses."""
    ranks = self._ranks(scores, mask)
    removed = self._smallest(ranks) & (ranks > _PADDING)
    sums = np.where(removed, np.maximum(ranks, 0), 0).sum(-1)
    return sums / np.count_nonzero(removed, axis=-1).astype(ranks.dtype)

  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask with the m smallest weights of pruned groups removed."""
    cut = self._smallest(self._ranks(scores, mask)) & ~units[..., None]
    cut = cut.reshape(*cut.shape[:-2], -1)[..., : mask.shape[self.axis]]
    result = mask.copy()
    # Writes through a view; weights after the last group are unchanged.
    np.moveaxis(result, self.axis, -1)[..., : cut.shape[-1]] &= ~cut
    return result

  @property
  def only_target(self) -> float | None:
    """m / n."""
    return self.m / self.n

  def unit_sparsity(self, sparsity: float, target_sparsity: float) -> float:
    """Returns the share of groups to prune, 1 at the target sparsity."""
    # Not sparsity * n / m, so that the share in the last round is exactly 1.
    return sparsity / target_sparsity if target_sparsity else 0.0

  def most_zeros(self, shape: Sequence[int]) -> int:
    """Returns the number of zeros of a kernel with all groups pruned."""
    length = shape[self.axis]
    whole, rest = divmod(length, self.n)
    per_row = whole * self.m + max(0, rest - (self.n - self.m))
    return math.prod(shape) // length * per_row

  def _groups(self, array: np.ndarray, fill: float) -> np.ndarray:
    """Returns the groups, shape (..., groups, n), padded with `fill`."""
    rows = np.moveaxis(array, self.axis, -1)
    whole, rest = divmod(rows.shape[-1], self.n)
    end = (whole + (rest > self.n - self.m)) * self.n
    missing = max(0, end - rows.shape[-1])
    if missing:
      width = [(0, 0)] * (rows.ndim - 1) + [(0, missing)]
      rows = np.pad(rows, width, constant_values=fill)
    return rows[..., :end].reshape(*rows.shape[:-1], -1, self.n)

  def _ranks(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    # Pruned weights rank first; otherwise a group could lose more than m.
    return self._groups(np.where(mask, np.abs(scores), _PRUNED), _PADDING)

  def _smallest(self, ranks: np.ndarray) -> np.ndarray:
    """Returns a mask that is True at the m smallest ranks of each group."""
    order = np.argsort(ranks, axis=-1, kind='stable')[..., : self.m]
    chosen = np.zeros(ranks.shape, bool)
    np.put_along_axis(chosen, order, True, axis=-1)
    return chosen


# Ranks below all scores: of pruned weights, and of the padding of a group.
_PRUNED, _PADDING = -1, -2
