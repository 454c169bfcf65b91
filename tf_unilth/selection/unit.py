"""The interface of pruning structures, and the structure of single weights."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np


class Structure(abc.ABC):
  """A division of a kernel into units that are pruned as a whole."""

  # The name of a unit in messages.
  unit_name: ClassVar[str]
  # The fewest units that each layer keeps: without any, its output is constant.
  min_units_kept: ClassVar[int] = 1

  @property
  @abc.abstractmethod
  def argument(self) -> str:
    """The argument of `prune_low_magnitude` that selects it, for messages."""

  @property
  @abc.abstractmethod
  def needs(self) -> str:
    """The requirement on the shape of a kernel, for messages."""

  @abc.abstractmethod
  def fits(self, shape: Sequence[int]) -> bool:
    """Returns whether a kernel of this shape can be divided into units."""

  @abc.abstractmethod
  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    """Returns the mask of units of a mask of weights.

    Args:
      mask: the mask of weights, in the shape of the kernel; True is kept.
    """

  @abc.abstractmethod
  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the scores of units.

    Args:
      scores: the scores of weights, finite, in the shape of the kernel; their
        absolute values are ranked.
      mask: the present mask of weights, in the same shape.
    """

  @abc.abstractmethod
  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask of weights that prunes exactly the given units.

    Args:
      units: the new mask of units.
      scores: the scores of weights, as passed to `scores_to_units`.
      mask: the present mask of weights; pruned weights stay pruned.
    """

  def is_whole(self, mask: np.ndarray) -> bool:
    """Returns whether a mask of weights prunes or keeps each unit as a whole.

    Args:
      mask: the mask of weights, in the shape of the kernel.

    >>> from tf_unilth.selection.blocks import Block
    >>> ones = np.ones((2, 2), bool)
    >>> Block(2, 1).is_whole(ones & [True, False])
    True
    >>> Block(2, 1).is_whole(ones & [[True, False], [True, True]])
    False
    """
    scores = mask.astype(np.float32)  # Pruned weights have the smallest.
    units = self.mask_to_units(mask)
    return np.array_equal(
      self.to_weights(units, scores, np.ones_like(mask)), mask
    )

  @property
  def only_target(self) -> float | None:
    """The only target sparsity that is possible; `None` if any is."""
    return None

  def unit_sparsity(self, sparsity: float, target_sparsity: float) -> float:
    """Returns the share of units to prune for a sparsity of the weights.

    Args:
      sparsity: the fraction of zeros of the weights, in [0, target_sparsity].
      target_sparsity: the sparsity after the last round.
    """
    del target_sparsity
    return sparsity

  def most_zeros(self, shape: Sequence[int]) -> int:
    """Returns the number of zeros of a kernel with all units pruned."""
    return math.prod(shape)

  def draw_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape of the random scores to draw for a kernel."""
    return tuple(shape)

  def broadcast_scores(
    self, drawn: np.ndarray, shape: Sequence[int]
  ) -> np.ndarray:
    """Returns drawn random scores with one element per weight.

    Args:
      drawn: the random scores, of shape `draw_shape(shape)`.
      shape: the shape of the kernel.
    """
    del shape
    return drawn


@dataclasses.dataclass(frozen=True)
class Single(Structure):
  """Each weight is a unit of its own.

  >>> Single().mask_to_units(np.array([True, False])).tolist()
  [True, False]
  """

  unit_name = 'weight'

  @property
  def argument(self) -> str:
    """The default `block_size`."""
    return 'block_size=(1, 1)'

  @property
  def needs(self) -> str:
    """No requirement."""
    return 'single weights can be pruned in a kernel of any shape'

  def fits(self, shape: Sequence[int]) -> bool:
    """Returns True: any kernel has single weights."""
    return True

  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    """Returns the mask itself."""
    return mask

  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the scores themselves."""
    return scores

  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask of units itself."""
    return units


class Channel(Single):
  """The weights of a kernel that loses whole channels.

  Which weights go together, `channels.py` says: units are coupled over several
  kernels, so one kernel alone has none. Here each weight stands for itself, but
  a mask must prune whole slices.

  >>> mask = np.array([[True, False], [True, False]])
  >>> Channel().is_whole(mask), Channel().is_whole(mask & mask.T)
  (True, True)
  >>> Channel().is_whole(np.eye(2, dtype=bool))
  False
  """

  unit_name = 'channel'

  @property
  def argument(self) -> str:
    """The `structure`."""
    return "structure='channels'"

  def is_whole(self, mask: np.ndarray) -> bool:
    """Returns whether a mask keeps the product of what its axes keep."""
    product = np.ones_like(mask)
    for axis in range(mask.ndim):
      others = tuple(other for other in range(mask.ndim) if other != axis)
      product &= mask.any(others, keepdims=True)
    return np.array_equal(product, mask)
