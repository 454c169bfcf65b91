"""The rows of the table of algorithms, and the cases that each is trained in.

To add an algorithm, add a row to `ALGORITHMS`. The cases cover optimizer, how
the step runs, whose wrapper it is and steps per execution pairwise, and each
model and target at least once. UniLTH has all cases. The others, whose rounds
and steps are the same code, have some.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toy_algorithm, toys

SEED = 5
ours = tf_unilth.prune_low_magnitude
tfmots = tfmot.sparsity.keras.prune_low_magnitude


@dataclasses.dataclass(frozen=True)
class Algorithm:
  """One row: how to make the callback, and what it promises."""

  make: Callable[..., Any]
  random: bool = False
  staged: bool = False  # Needs a StagedLearningRate.
  ramped: bool = False
  cases: str = 'abcdefgh'  # Of `CASES`, each by its letter.

  def callback(self, **arguments: Any) -> Any:
    return self.make(verbose=0, **arguments)


ALGORITHMS = {
  'lth': Algorithm(tf_unilth.LTH, cases='cg'),
  'lth_late': Algorithm(
    functools.partial(tf_unilth.LTH, rewind_step=5), cases='h'
  ),
  'lr_rewind': Algorithm(
    functools.partial(tf_unilth.LTH, 'learning_rate'),
    staged=True,
    cases='d',
  ),
  'dlth': Algorithm(
    functools.partial(tf_unilth.DLTH, seed=SEED),
    random=True,
    ramped=True,
    cases='ag',
  ),
  'unilth': Algorithm(
    functools.partial(tf_unilth.UniLTH, finetune_fraction=0.4), ramped=True
  ),
  'unilth_pretrained': Algorithm(
    functools.partial(tf_unilth.UniLTH, finetune_fraction=0.4, pretrained=True),
    ramped=True,
    cases='a',
  ),
  'unidlth': Algorithm(
    functools.partial(tf_unilth.UniDLTH, seed=SEED, finetune_fraction=0.4),
    random=True,
    ramped=True,
    cases='bfh',
  ),
  # CONTRIBUTING.md says how to add an algorithm; this one follows it.
  'toy': Algorithm(toy_algorithm.OneShot, cases='a'),
}


@dataclasses.dataclass(frozen=True)
class Case:
  """One combination of what surrounds an algorithm."""

  optimizer: str
  mode: str
  steps_per_execution: int
  model: Callable[[], keras.Model]
  target: float
  per_layer: bool  # A schedule for each layer, or one for all.
  block: tuple[int, int] = (1, 1)
  m_by_n: tuple[int, int] | None = None
  wrap: Callable[..., Any] = tfmots

  @property
  def structure(self) -> dict[str, Any]:
    """How the weights go together, as arguments of tfmot's wrapper."""
    return {'block_size': self.block, 'sparsity_m_by_n': self.m_by_n}

  def units(self, mask: np.ndarray) -> list[np.ndarray]:
    """Returns a mask in the parts that are cut as a whole."""
    if self.m_by_n:
      rows = np.moveaxis(mask, -2, -1).reshape(-1, mask.shape[-2])
      return list(rows.reshape(-1, self.m_by_n[1]))
    if self.block == (1, 1):
      return list(mask.ravel())
    height, width = self.block
    return [
      mask[top : top + height, left : left + width]
      for top in range(0, mask.shape[0], height)
      for left in range(0, mask.shape[1], width)
    ]

  def cut(self, found: list[np.ndarray]) -> int:
    """Returns how many units are cut, and checks that none is cut in part."""
    units = [unit for mask in found for unit in self.units(mask)]
    left = {int(np.sum(unit)) for unit in units if not np.all(unit)}
    assert left <= {self.m_by_n[1] - self.m_by_n[0] if self.m_by_n else 0}
    return sum(not np.all(unit) for unit in units)

  def expected(self, found: list[np.ndarray], sparsity: float) -> int:
    """Returns how many units shall be cut at a sparsity of the weights."""
    total = sum(len(self.units(mask)) for mask in found)
    share = sparsity / self.target if self.m_by_n else sparsity
    return round(share * total)


CASES = {
  'a': Case('sgd', 'graph', 1, toys.conv, 0.9, False),
  'b': Case('adam', 'jit', 4, toys.dense, 0.5, True, wrap=ours),
  'c': Case('sgd', 'eager', 4, toys.nested, 0.98, False, wrap=ours),
  'd': Case('adam', 'graph', 4, toys.conv, 0.9, False, wrap=ours),
  'e': Case('sgd', 'jit', 1, toys.nested, 0.995, False),
  'f': Case('adam', 'eager', 1, toys.conv, 0.5, True),
  # 36 x 16 and 16 x 2: smaller blocks at the bottom and at the right.
  'g': Case('sgd', 'graph', 1, toys.dense, 0.8, False, block=(5, 3), wrap=ours),
  'h': Case('adam', 'graph', 4, toys.conv, 0.5, True, m_by_n=(2, 4)),
}
ROUNDS = 3


def make_optimizer(
  name: str, staged: bool = False, package: Any = keras
) -> Any:
  """Returns a new optimizer for a case.

  Args:
    name: 'sgd' or 'adam'.
    staged: whether its rate is a `StagedLearningRate`.
    package: the Keras that it is of.
  """
  rate = 0.05 if name == 'sgd' else 0.01
  if staged:
    rate = tf_unilth.StagedLearningRate(rate)
  if name == 'sgd':
    return package.optimizers.SGD(rate, momentum=0.9)
  return package.optimizers.Adam(rate)
