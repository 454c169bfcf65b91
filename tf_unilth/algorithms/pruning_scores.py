"""Scores that rank the weights: by magnitude, or drawn at random."""

import dataclasses

import numpy as np

from tf_unilth.argument_checks import check_int
from tf_unilth.engines.engine import Engine
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.selection import channel_selection, mask_selection
from tf_unilth.selection.channels import Channels


@dataclasses.dataclass(frozen=True)
class Magnitude:
  """Scores for pruning the weights with the smallest |w|."""

  def weight_scores(self, engine: Engine) -> list[np.ndarray]:
    """Returns a score per weight; the smallest |score| are pruned first.

    Args:
      engine: has the kernels.

    Returns:
      An array of the kernel's shape for each wrapped kernel.
    """
    return engine.read_weights()

  def unit_scores(self, engine: Engine, channels: Channels) -> np.ndarray:
    """Returns the L2 norm of each unit of whole channels, shape (units,).

    Args:
      engine: has the kernels.
      channels: the units of the model.
    """
    return channels.norms(engine.read_weights())

  def ranking_scope(self, schedule: IterativeSparsity) -> str:
    """Returns the scope in which the layers of a schedule are ranked.

    Args:
      schedule: a schedule, whose own `scope` comes first.

    Returns:
      `'global'`, `'layer'` or `'erk'`.
    """
    return schedule.scope or 'global'


@dataclasses.dataclass(frozen=True)
class Random:
  """Scores for pruning in a random order that is drawn once from `seed`.

  The order is drawn per layer, from the seed and the position of the layer in
  the model, so it does not depend on names or processes. Each block gets one
  number.

  Args:
    seed: at least 0.
    scope: the scope of schedules without one: `'layer'`, the same share of each
      layer, or `'erk'`.

  Raises:
    ValueError: the seed is out of its range.
  """

  seed: int
  scope: str = 'layer'

  def __post_init__(self):
    seed = check_int('seed', self.seed, 0)
    object.__setattr__(self, 'seed', seed)

  def weight_scores(self, engine: Engine) -> list[np.ndarray]:
    """Returns a score per weight, the same at each call.

    Args:
      engine: has the kernels.

    Returns:
      An array of the kernel's shape for each wrapped kernel.
    """
    kernels = engine.kernels
    shapes = [k.structure.draw_shape(k.shape) for k in kernels]
    drawn = mask_selection.random_scores(shapes, self.seed)
    return [
      kernel.structure.broadcast_scores(numbers, kernel.shape)
      for kernel, numbers in zip(kernels, drawn, strict=True)
    ]

  def unit_scores(self, engine: Engine, channels: Channels) -> np.ndarray:
    """Returns a score per unit of whole channels, the same at each call.

    Args:
      engine: has the kernels.
      channels: the units of the model.
    """
    del engine
    return channel_selection.random_units(channels, self.seed)

  def ranking_scope(self, schedule: IterativeSparsity) -> str:
    """Returns the scope in which the layers of a schedule are ranked.

    Args:
      schedule: a schedule, whose own `scope` comes first. `'global'` becomes
        `'layer'`: random scores rank all layers alike.

    Returns:
      `'layer'` or `'erk'`.
    """
    scope = schedule.scope or self.scope
    return 'layer' if scope == 'global' else scope


Scores = Magnitude | Random
