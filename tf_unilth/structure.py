"""Which weights go together: single ones, blocks, or m of n consecutive.

A structure divides a kernel into units that are cut as a whole. `masks.select`
ranks units; a structure pools scores and masks of weights into those of units
and expands what was selected. Plain arrays, no Keras. As everywhere, a mask is
True where something is kept, and ties go by index.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tf_unilth import arguments

POOLINGS = ('AVG', 'MAX')
# Of what NumPy counts with.
_BEYOND = 1 << 63


class Structure(abc.ABC):
  """How the weights of a kernel go together."""

  # What a unit is called in messages.
  noun: ClassVar[str]
  # How many units each layer keeps at least: one without would be constant.
  kept: ClassVar[int] = 1

  @property
  @abc.abstractmethod
  def argument(self) -> str:
    """What `prune_low_magnitude` is told to have it, as a message says it."""

  @property
  @abc.abstractmethod
  def needs(self) -> str:
    """What a kernel needs to have, as a message says it."""

  @abc.abstractmethod
  def fits(self, shape: Sequence[int]) -> bool:
    """Returns whether a kernel of this shape can be divided."""

  @abc.abstractmethod
  def pool_mask(self, mask: np.ndarray) -> np.ndarray:
    """Returns which units a mask of weights keeps."""

  @abc.abstractmethod
  def pool_scores(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the scores of units.

    Args:
      scores: of the weights, finite; their absolute values count.
      mask: of the weights, the present one.
    """

  @abc.abstractmethod
  def expand(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask of weights in which exactly the given units are cut.

    Args:
      units: the mask of the units, new.
      scores: of the weights, as given to `pool_scores`.
      mask: of the weights, the present one; what it removes stays removed.
    """

  def is_whole(self, mask: np.ndarray) -> bool:
    """Returns whether a mask of weights cuts each unit as a whole or not.

    >>> ones = np.ones((2, 2), bool)
    >>> Block(2, 1).is_whole(ones & [True, False])
    True
    >>> Block(2, 1).is_whole(ones & [[True, False], [True, True]])
    False
    """
    scores = mask.astype(np.float32)  # What is cut has the smallest.
    units = self.pool_mask(mask)
    return np.array_equal(self.expand(units, scores, np.ones_like(mask)), mask)

  @property
  def only_target(self) -> float | None:
    """The sparsity that it ends at, where there is but one."""
    return None

  def unit_sparsity(self, sparsity: float, target_sparsity: float) -> float:
    """Returns the share of units to cut for a sparsity on the way to a target.

    Args:
      sparsity: fraction of zeros among the weights, in [0, target_sparsity].
      target_sparsity: the one that the last round meets.
    """
    del target_sparsity
    return sparsity

  def most_zeros(self, shape: Sequence[int]) -> int:
    """Returns how many weights are zero where all units are cut."""
    return math.prod(shape)

  def draw_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape of what is drawn at random for a kernel."""
    return tuple(shape)

  def spread(self, drawn: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns scores of weights, of an array of `draw_shape`."""
    del shape
    return drawn


@dataclasses.dataclass(frozen=True)
class Single(Structure):
  """Each weight by itself.

  >>> Single().pool_mask(np.array([True, False])).tolist()
  [True, False]
  """

  noun = 'weight'

  @property
  def argument(self) -> str:
    return 'block_size=(1, 1)'

  @property
  def needs(self) -> str:
    return 'single weights need nothing'

  def fits(self, shape: Sequence[int]) -> bool:
    return True

  def pool_mask(self, mask: np.ndarray) -> np.ndarray:
    return mask

  def pool_scores(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return scores

  def expand(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    return units


@dataclasses.dataclass(frozen=True)
class Block(Structure):
  """Tiles of a matrix, smaller at its right and bottom edge where they must.

  A tile's score is the mean or the largest of its weights' scores. At random,
  one number is drawn per tile, whatever its size.

  Args:
    height: rows of a tile, at least 1.
    width: columns of a tile, at least 1.
    pooling: `'AVG'` or `'MAX'`.

  Raises:
    ValueError: an argument is out of its range.

  >>> scores = np.array([[1., 2., 9.], [3., 2., 9.], [4., 0., 1.]])
  >>> block, ones = Block(2, 2), np.ones((3, 3), bool)
  >>> block.pool_scores(scores, ones).tolist()
  [[2.0, 9.0], [2.0, 1.0]]
  >>> units = np.array([[True, True], [True, False]])
  >>> block.expand(units, scores, ones)[2].tolist()
  [True, True, False]
  """

  height: int
  width: int
  pooling: str = 'AVG'

  noun = 'block'

  def __post_init__(self):
    if self.height < 1 or self.width < 1:
      raise ValueError(
        'block_size must be two whole numbers >= 1, but is '
        f'{(self.height, self.width)}.'
      )
    if self.pooling not in POOLINGS:
      raise ValueError(
        f'block_pooling_type must be one of {POOLINGS}, but is '
        f'{self.pooling!r}.'
      )

  @property
  def argument(self) -> str:
    return f'block_size={(self.height, self.width)}'

  @property
  def needs(self) -> str:
    return f'{self.argument} needs a matrix'

  def fits(self, shape: Sequence[int]) -> bool:
    return len(shape) == 2

  def pool_mask(self, mask: np.ndarray) -> np.ndarray:
    # A block that lost only some of its weights has not been cut.
    return self._pool(np.logical_or, mask)

  def pool_scores(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    del mask
    scores = np.abs(scores)
    if self.pooling == 'MAX':
      return self._pool(np.maximum, scores)
    # In double precision, so that the mean of equal scores is that score.
    sums = self._pool(np.add, scores.astype(np.float64))
    sizes = self._pool(np.add, np.ones(scores.shape))
    return (sums / sizes).astype(scores.dtype)

  def expand(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    return self.spread(units, mask.shape) & mask

  def draw_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
    return -(-shape[0] // self.height), -(-shape[1] // self.width)

  def spread(self, drawn: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    rows = np.repeat(drawn, self.height, axis=0)[: shape[0]]
    return np.repeat(rows, self.width, axis=1)[:, : shape[1]]

  def _pool(self, ufunc: np.ufunc, array: np.ndarray) -> np.ndarray:
    tops = np.arange(0, array.shape[0], self.height)
    lefts = np.arange(0, array.shape[1], self.width)
    return ufunc.reduceat(ufunc.reduceat(array, tops, axis=0), lefts, axis=1)


@dataclasses.dataclass(frozen=True)
class MByN(Structure):
  """m zeros in each n consecutive weights along the axis of the inputs.

  A unit is such a group; to cut it is to remove its m smallest scores, and
  its own score is their mean. A shorter group at the end of the axis is
  treated as if zeros filled it up to n, as tfmot does and as an accelerator
  reads it: it loses so many weights that n - m are left, and is no unit where
  it has no more than that. In the end all groups are cut, and the rounds say
  how many are.

  Args:
    m: zeros of a group, in [1, n).
    n: consecutive weights of a group, at least 2.
    axis: where the inputs lie, negative. It does not make structures differ:
      the layers of one model may have their inputs on different axes.

  Raises:
    ValueError: an argument is out of its range.

  >>> scores, ones = np.array([[4., 3., 1., 2.]]), np.ones((1, 4), bool)
  >>> two_of_four = MByN(2, 4, axis=-1)
  >>> two_of_four.pool_scores(scores, ones).tolist()
  [[1.5]]
  >>> two_of_four.expand(np.array([[False]]), scores, ones).tolist()
  [[True, True, False, False]]
  """

  m: int
  n: int
  axis: int = dataclasses.field(default=-2, compare=False)

  noun = 'group'
  kept = 0  # A group that is cut keeps n - m weights.

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
    return f'sparsity_m_by_n={(self.m, self.n)}'

  @property
  def needs(self) -> str:
    return (
      f'{self.argument} needs at least {self.n} weights along axis {self.axis}'
    )

  def fits(self, shape: Sequence[int]) -> bool:
    return len(shape) >= max(2, -self.axis) and shape[self.axis] >= self.n

  def pool_mask(self, mask: np.ndarray) -> np.ndarray:
    return np.count_nonzero(~self._groups(mask, False), axis=-1) < self.m

  def pool_scores(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    ranks = self._ranks(scores, mask)
    removed = self._smallest(ranks) & (ranks > _FILLED)
    sums = np.where(removed, np.maximum(ranks, 0), 0).sum(-1)
    return sums / np.count_nonzero(removed, axis=-1).astype(ranks.dtype)

  def expand(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    cut = self._smallest(self._ranks(scores, mask)) & ~units[..., None]
    cut = cut.reshape(*cut.shape[:-2], -1)[..., : mask.shape[self.axis]]
    result = mask.copy()
    # A view: what is beyond the last unit stays as it is.
    np.moveaxis(result, self.axis, -1)[..., : cut.shape[-1]] &= ~cut
    return result

  @property
  def only_target(self) -> float | None:
    return self.m / self.n

  def unit_sparsity(self, sparsity: float, target_sparsity: float) -> float:
    # By the target and not by m / n, so that the last round is exactly 1.
    return sparsity / target_sparsity if target_sparsity else 0.0

  def most_zeros(self, shape: Sequence[int]) -> int:
    length = shape[self.axis]
    whole, rest = divmod(length, self.n)
    per_row = whole * self.m + max(0, rest - (self.n - self.m))
    return math.prod(shape) // length * per_row

  def _groups(self, array: np.ndarray, fill: float) -> np.ndarray:
    """Returns the groups, one per row of n; `fill` makes the last one full."""
    rows = np.moveaxis(array, self.axis, -1)
    whole, rest = divmod(rows.shape[-1], self.n)
    end = (whole + (rest > self.n - self.m)) * self.n
    missing = max(0, end - rows.shape[-1])
    if missing:
      width = [(0, 0)] * (rows.ndim - 1) + [(0, missing)]
      rows = np.pad(rows, width, constant_values=fill)
    return rows[..., :end].reshape(*rows.shape[:-1], -1, self.n)

  def _ranks(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    # What is pruned goes first, or a cut group could lose more than m.
    return self._groups(np.where(mask, np.abs(scores), _PRUNED), _FILLED)

  def _smallest(self, ranks: np.ndarray) -> np.ndarray:
    """Returns where the m smallest of each group lie."""
    order = np.argsort(ranks, axis=-1, kind='stable')[..., : self.m]
    chosen = np.zeros(ranks.shape, bool)
    np.put_along_axis(chosen, order, True, axis=-1)
    return chosen


# Ranks below all scores: of pruned weights, and of zeros that fill a group.
_PRUNED, _FILLED = -1, -2


def from_arguments(
  block_size: Iterable[int],
  block_pooling_type: str,
  sparsity_m_by_n: Iterable[int] | None,
  axis: int = -2,
) -> Structure:
  """Returns the structure that the arguments of tfmot's wrapper ask for.

  Args:
    block_size: (height, width); (1, 1) for none.
    block_pooling_type: `'AVG'` or `'MAX'`.
    sparsity_m_by_n: (m, n), or `None`. It goes before `block_size`.
    axis: where the kernel's inputs lie, negative.

  Raises:
    ValueError: an argument is out of its range.

  >>> from_arguments((1, 1), 'AVG', None)
  Single()
  >>> from_arguments((1, 1), 'AVG', (2, 4))
  MByN(m=2, n=4, axis=-2)
  """
  if sparsity_m_by_n is not None:
    m, n = _whole_pair('sparsity_m_by_n', sparsity_m_by_n)
    return MByN(m, n, axis)
  height, width = _whole_pair('block_size', block_size)
  if height == width == 1:
    return Single()
  return Block(height, width, block_pooling_type)


def _whole_pair(name: str, value: Any) -> tuple[int, int]:
  # The bytes of b'24' are numbers.
  is_pair = isinstance(value, Iterable) and not isinstance(value, bytes)
  pair = tuple(value) if is_pair else ()
  if len(pair) != 2 or not all(
    isinstance(number, int | np.integer)
    and not isinstance(number, bool)
    and number < _BEYOND
    for number in pair
  ):
    raise ValueError(
      f'{name} must be two whole numbers, but is {arguments.shown(value)}.'
    )
  return int(pair[0]), int(pair[1])
