"""The structure of rectangular blocks of a matrix."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tf_unilth.selection.unit import Structure


@dataclasses.dataclass(frozen=True)
class Block(Structure):
  """Blocks of a matrix; those at the right and bottom edges may be smaller.

  The score of a block is the mean or the maximum of its weights' scores. Random
  tickets draw one number per block, whatever its size.

  Args:
    height: rows of a block, at least 1.
    width: columns of a block, at least 1.
    pooling: `'AVG'` (mean) or `'MAX'`.

  Raises:
    ValueError: an argument is out of range.

  >>> scores = np.array([[1., 2., 9.], [3., 2., 9.], [4., 0., 1.]])
  >>> block, ones = Block(2, 2), np.ones((3, 3), bool)
  >>> block.scores_to_units(scores, ones).tolist()
  [[2.0, 9.0], [2.0, 1.0]]
  >>> units = np.array([[True, True], [True, False]])
  >>> block.to_weights(units, scores, ones)[2].tolist()
  [True, True, False]
  """

  height: int
  width: int
  pooling: str = 'AVG'

  unit_name = 'block'

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
    """The `block_size`."""
    return f'block_size={(self.height, self.width)}'

  @property
  def needs(self) -> str:
    """A matrix."""
    return f'{self.argument} needs a matrix'

  def fits(self, shape: Sequence[int]) -> bool:
    """Returns whether the kernel is a matrix."""
    return len(shape) == 2

  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    """Returns which blocks keep at least one weight, one element per block."""
    return self._pool(np.logical_or, mask)

  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the pooled absolute scores, one element per block."""
    del mask
    scores = np.abs(scores)
    if self.pooling == 'MAX':
      return self._pool(np.maximum, scores)
    # In float64, so that the mean of equal scores is exactly that score.
    sums = self._pool(np.add, scores.astype(np.float64))
    sizes = self._pool(np.add, np.ones(scores.shape))
    return (sums / sizes).astype(scores.dtype)

  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask with the weights of all pruned blocks removed."""
    return self.broadcast_scores(units, mask.shape) & mask

  def draw_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the number of blocks along each axis."""
    return -(-shape[0] // self.height), -(-shape[1] // self.width)

  def broadcast_scores(
    self, drawn: np.ndarray, shape: Sequence[int]
  ) -> np.ndarray:
    """Returns each block's score at all of its weights."""
    rows = np.repeat(drawn, self.height, axis=0)[: shape[0]]
    return np.repeat(rows, self.width, axis=1)[:, : shape[1]]

  def _pool(self, ufunc: np.ufunc, array: np.ndarray) -> np.ndarray:
    """Reduces each block of a matrix with a ufunc."""
    tops = np.arange(0, array.shape[0], self.height)
    lefts = np.arange(0, array.shape[1], self.width)
    return ufunc.reduceat(ufunc.reduceat(array, tops, axis=0), lefts, axis=1)


POOLINGS = ('AVG', 'MAX')
