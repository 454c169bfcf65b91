"""Which weights go: by magnitude, or drawn at random before training."""

import dataclasses

import numpy as np

from tf_unilth.argument_checks import check_int
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.selection import mask_selection


@dataclasses.dataclass(frozen=True)
class Magnitude:
  """The smallest |w| go: the ticket is found."""

  def of(self, layers: PrunedLayers) -> list[np.ndarray]:
    """Returns a score per weight; the smallest |score| go first."""
    return layers.read_weights()

  def scope_of(self, schedule: IterativeSparsity) -> str:
    """Returns in which scope the schedule's layers are ranked."""
    return schedule.scope or 'global'


@dataclasses.dataclass(frozen=True)
class Random:
  """One order drawn from `seed`: the ticket is made.

  The order is drawn per layer, from the seed and the layer's place in the
  model, so that names and processes do not matter. Blocks get one number each.

  Args:
    seed: at least 0.
    scope: how many of a layer go where the schedule leaves it open: the same
      share of each, `'layer'`, or `'erk'`.
  """

  seed: int
  scope: str = 'layer'

  def __post_init__(self):
    seed = check_int('seed', self.seed, 0)
    object.__setattr__(self, 'seed', seed)

  def of(self, layers: PrunedLayers) -> list[np.ndarray]:
    """Returns a score per weight, the same at each call."""
    kernels = layers.kernels
    shapes = [k.structure.draw_shape(k.weight.shape) for k in kernels]
    drawn = mask_selection.random_scores(shapes, self.seed)
    return [
      kernel.structure.broadcast_scores(numbers, kernel.weight.shape)
      for kernel, numbers in zip(kernels, drawn, strict=True)
    ]

  def scope_of(self, schedule: IterativeSparsity) -> str:
    """Returns the scope; a global random draw is one per layer."""
    scope = schedule.scope or self.scope
    return 'layer' if scope == 'global' else scope


Scores = Magnitude | Random
