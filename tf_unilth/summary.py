"""sparsity_summary: how many zeros each layer of a model has."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth import compat
from tf_unilth.compat import keras
from tf_unilth.pruned_layers import PrunedLayers


@dataclasses.dataclass(frozen=True)
class Row:
  """One kernel: its name, its shape, and how many of its weights are zero."""

  name: str
  shape: tuple[int, ...]
  zeros: int

  @property
  def weights(self) -> int:
    """How many weights there are."""
    return math.prod(self.shape)

  @property
  def sparsity(self) -> float:
    """The fraction of zeros, in [0, 1]."""
    return self.zeros / self.weights


@dataclasses.dataclass(frozen=True)
class SparsitySummary:
  """The kernels of a model; prints as a table.

  Args:
    rows: one per kernel.
  """

  rows: tuple[Row, ...]

  @property
  def total_weights(self) -> int:
    """How many weights all the kernels have."""
    return sum(row.weights for row in self.rows)

  @property
  def zeros(self) -> int:
    """How many of them are exactly 0."""
    return sum(row.zeros for row in self.rows)

  @property
  def sparsity(self) -> float:
    """The fraction of zeros over all kernels, in [0, 1]."""
    return self.zeros / self.total_weights if self.rows else 0.0

  def __str__(self) -> str:
    lines = [('layer', 'shape', 'weights', 'zeros', 'sparsity')]
    for row in self.rows:
      shape = ' x '.join(str(size) for size in row.shape)
      lines.append((row.name, shape, *_numbers(row.weights, row.zeros)))
    lines.append(('total', '', *_numbers(self.total_weights, self.zeros)))
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    table = [_format(line, widths) for line in lines]
    rule = '-' * len(table[0])
    return '\n'.join([table[0], rule, *table[1:-1], rule, table[-1]])


def sparsity_summary(model: keras.Model) -> SparsitySummary:
  """Returns the zeros of each prunable kernel of a model; print it.

  Of a wrapped model it shows the wrapped kernels; of a model that was never
  wrapped, or was stripped, all kernels that tfmot would prune. Biases are
  never pruned and never counted.

  Args:
    model: a tf_keras model, built.

  Raises:
    TypeError: not a tf_keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> print(sparsity_summary(keras.Sequential(layers)))
  layer  shape  weights  zeros  sparsity
  --------------------------------------
  small  3 x 2        6      0    0.000%
  --------------------------------------
  total               6      0    0.000%
  """
  compat.check_keras(model, 'model', keras.Model)
  return SparsitySummary(
    tuple(
      Row(
        name,
        tuple(weight.shape),
        int(np.count_nonzero(weight.numpy() == 0)),
      )
      for name, weight in _kernels(model)
    )
  )


def _kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
  wrapped = PrunedLayers(model).kernels
  if wrapped:
    for kernel in wrapped:
      yield kernel.name, kernel.weight
    return
  for layer in dict.fromkeys(compat.flatten_layers(model)):
    weights = compat.prunable_weights(layer)
    for weight in weights:
      suffix = '/' + weight.name.split(':')[0].split('/')[-1]
      yield layer.name + suffix * (len(weights) > 1), weight


def _numbers(weights: int, zeros: int) -> tuple[str, str, str]:
  share = zeros / weights if weights else 0.0
  return f'{weights:,}', f'{zeros:,}', f'{100 * share:.3f}%'


def _format(cells: tuple[str, ...], widths: list[int]) -> str:
  name, shape, *numbers = cells
  left = [name.ljust(widths[0]), shape.ljust(widths[1])]
  right = [n.rjust(w) for n, w in zip(numbers, widths[2:], strict=True)]
  return '  '.join(left + right)
