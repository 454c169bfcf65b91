"""Coupled channels: which parts of which weights go with a unit.

A unit is an output channel of a layer, or of several layers whose outputs are
added, with all that belongs to it: its slices of the kernels that make it, its
biases, gammas and betas, and the slices of the kernels that read it. Units that
the same layers make are a group. A mask of units is a boolean array of shape
(units,), True where a unit is kept.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

# What a target can be a share of.
COSTS = ('weights', 'flops')


@dataclasses.dataclass(frozen=True, eq=False)
class UnitAxis:
  """The units along one axis of a weight.

  Args:
    axis: the axis, at least 0.
    units: the unit of each index of the axis, shape (length,); -1 for an index
      that belongs to no unit and always stays.
    makes: whether the weight makes the channels of these units, rather than
      reading them.
  """

  axis: int
  units: np.ndarray
  makes: bool

  def kept(self, units: np.ndarray) -> np.ndarray:
    """Returns which indices stay if only some units are kept.

    Args:
      units: the mask of units.
    """
    return (self.units < 0) | units[self.units]


@dataclasses.dataclass(frozen=True, eq=False)
class UnitWeight:
  """One weight, and the units along its axes.

  Args:
    shape: its shape.
    axes: the axes with units, each at most once.
    is_counted: whether its elements count as weights. Biases, gammas, betas and
      depthwise kernels go with their units, but do not count.
  """

  shape: tuple[int, ...]
  axes: tuple[UnitAxis, ...] = ()
  is_counted: bool = True

  def mask(self, units: np.ndarray) -> np.ndarray:
    """Returns the mask of its elements for a mask of units."""
    mask = np.ones(self.shape, bool)
    for axis in self.axes:
      mask &= _along(axis.kept(units), axis.axis, len(self.shape))
    return mask

  def size(self, units: np.ndarray) -> int:
    """Returns how many elements stay."""
    size = math.prod(self.shape)
    for axis in self.axes:
      kept = int(np.count_nonzero(axis.kept(units)))
      size = size // self.shape[axis.axis] * kept
    return size


@dataclasses.dataclass(frozen=True)
class UnitGroup:
  """The units that the same layers make. At least one of them stays.

  Args:
    name: the layers, for messages.
    size: the number of units, at least 1.
    density: the sum of the axes of the kernels that make them, relative to
      their number of weights; the ERK densities are proportional to it.
  """

  name: str
  size: int
  density: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Channels:
  """All units of a model, and what they cost.

  Args:
    groups: the groups. The units of the first group come first.
    weights: an entry for each masked weight, in the order of an engine's
      kernels.
    flops: returns the model's floating-point operations for a mask of units;
      `None` if the model's inputs have no fixed shape.
    pinned: the layers that must keep their width, each with the reason.

  >>> made = UnitAxis(1, np.array([0, 1, 2]), makes=True)
  >>> read = UnitAxis(0, np.array([0, 1, 2]), makes=False)
  >>> weights = UnitWeight((4, 3), (made,)), UnitWeight((3, 2), (read,))
  >>> channels = Channels((UnitGroup('a', 3),), weights, lambda units: 0)
  >>> kept = np.array([True, False, True])
  >>> channels.masks(kept)[1].tolist()
  [[True, True], [False, False], [True, True]]
  >>> channels.left('weights', kept), channels.removed('weights', kept)
  (12, 0.3333333333333333)
  """

  groups: tuple[UnitGroup, ...]
  weights: tuple[UnitWeight, ...]
  flops: Callable[[np.ndarray], int] | None
  pinned: tuple[str, ...] = ()

  @property
  def unit_count(self) -> int:
    """The number of units."""
    return sum(group.size for group in self.groups)

  @property
  def group_of(self) -> np.ndarray:
    """The index of the group of each unit, shape (units,)."""
    sizes = [group.size for group in self.groups]
    return np.repeat(np.arange(len(sizes)), sizes)

  def masks(self, units: np.ndarray) -> list[np.ndarray]:
    """Returns the mask of each weight for a mask of units."""
    return [weight.mask(units) for weight in self.weights]

  def kept_units(self, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mask of units of the masks of all weights.

    A unit is kept if a weight that makes it keeps any element of it. A weight
    that does not count is asked only where none that counts makes the unit.

    Args:
      masks: the mask of each weight.
    """
    counted, other = (
      np.zeros((2, self.unit_count), bool) for _ in range(2)
    )  # Rows: whether a weight makes the unit, and whether it keeps it.
    for weight, mask in zip(self.weights, masks, strict=True):
      found = counted if weight.is_counted else other
      for axis in weight.axes:
        if axis.makes:
          inside = axis.units >= 0
          kept = mask.any(_others(axis.axis, mask.ndim))
          found[0, axis.units[inside]] = True
          found[1, axis.units[inside & kept]] = True
    return np.where(counted[0], counted[1], other[1] | ~other[0])

  def norms(self, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the L2 norm of each unit over all of its slices.

    Args:
      weights: the value of each weight, finite, in the shapes of `weights`.
    """
    squares = np.zeros(self.unit_count)
    for weight, values in zip(self.weights, weights, strict=True):
      square = np.square(values, dtype=np.float64) if weight.axes else None
      for axis in weight.axes:
        assert square is not None
        sums = square.sum(_others(axis.axis, values.ndim))
        inside = axis.units >= 0
        squares += np.bincount(
          axis.units[inside], sums[inside], minlength=self.unit_count
        )
    return np.sqrt(squares)

  def left(self, of: str, units: np.ndarray) -> int:
    """Returns the weights or FLOPs that are left.

    Args:
      of: `'weights'` or `'flops'`.
      units: the mask of units.

    Raises:
      ValueError: the FLOPs are not known.
    """
    if of == 'flops':
      if self.flops is None:
        raise ValueError(
          "of='flops' needs a model whose inputs have a fixed shape, but a "
          'dimension besides the batch is None.'
        )
      return self.flops(units)
    return sum(w.size(units) for w in self.weights if w.is_counted)

  def total(self, of: str) -> int:
    """Returns the weights or FLOPs of the whole model."""
    return self.left(of, np.ones(self.unit_count, bool))

  def removed(self, of: str, units: np.ndarray) -> float:
    """Returns the share of the weights or FLOPs that is gone, in [0, 1)."""
    total = self.total(of)
    return (total - self.left(of, units)) / total


def _along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
  """Returns a vector that broadcasts along one axis of an array."""
  shape = [1] * rank
  shape[axis] = values.size
  return values.reshape(shape)


def _others(axis: int, rank: int) -> tuple[int, ...]:
  return tuple(other for other in range(rank) if other != axis)
