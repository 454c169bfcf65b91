"""Single weights, and what all pruning units have in common."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np


class Structure(abc.ABC):
  """How the weights of a kernel go together."""

  # What a unit is called in messages.
  unit_name: ClassVar[str]
  # How many units each layer keeps at least: one without would be constant.
  min_units_kept: ClassVar[int] = 1

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
  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    """Returns which units a mask of weights keeps."""

  @abc.abstractmethod
  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns the scores of units.

    Args:
      scores: of the weights, finite; their absolute values count.
      mask: of the weights, the present one.
    """

  @abc.abstractmethod
  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    """Returns the mask of weights in which exactly the given units are cut.

    Args:
      units: the mask of the units, new.
      scores: of the weights, as given to `scores_to_units`.
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
    units = self.mask_to_units(mask)
    return np.array_equal(
      self.to_weights(units, scores, np.ones_like(mask)), mask
    )

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

  def broadcast_scores(
    self, drawn: np.ndarray, shape: Sequence[int]
  ) -> np.ndarray:
    """Returns scores of weights, of an array of `draw_shape`."""
    del shape
    return drawn


@dataclasses.dataclass(frozen=True)
class Single(Structure):
  """Each weight by itself.

  >>> Single().mask_to_units(np.array([True, False])).tolist()
  [True, False]
  """

  unit_name = 'weight'

  @property
  def argument(self) -> str:
    return 'block_size=(1, 1)'

  @property
  def needs(self) -> str:
    return 'single weights need nothing'

  def fits(self, shape: Sequence[int]) -> bool:
    return True

  def mask_to_units(self, mask: np.ndarray) -> np.ndarray:
    return mask

  def scores_to_units(self, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return scores

  def to_weights(
    self, units: np.ndarray, scores: np.ndarray, mask: np.ndarray
  ) -> np.ndarray:
    return units
