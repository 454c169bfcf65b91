"""sparsity_summary: counts the zeros of each kernel of a model."""

import collections
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import (
  keras_3_errors,
  keras_access,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


@dataclasses.dataclass(frozen=True)
class KernelSparsity:
  """The number of zeros of one kernel.

  Args:
    name: the name of the kernel.
    shape: its shape.
    zeros: the number of its weights that are exactly 0.
  """

  name: str
  shape: tuple[int, ...]
  zeros: int

  @property
  def weights(self) -> int:
    """The number of weights."""
    return math.prod(self.shape)

  @property
  def sparsity(self) -> float:
    """The fraction of zeros, in [0, 1]."""
    return self.zeros / self.weights


@dataclasses.dataclass(frozen=True)
class SparsitySummary:
  """The sparsity of a model's kernels; prints as a table.

  Args:
    rows: one per kernel.
    left: for a wrapped model, the layers that are not wrapped: by name if they
      have trainable matrices, else by class. Includes unpruned parts of wrapped
      layers.
  """

  rows: tuple[KernelSparsity, ...]
  left: tuple[str, ...] = ()

  @property
  def total_weights(self) -> int:
    """The number of weights of all kernels."""
    return sum(row.weights for row in self.rows)

  @property
  def zeros(self) -> int:
    """The number of weights that are exactly 0."""
    return sum(row.zeros for row in self.rows)

  @property
  def sparsity(self) -> float:
    """The fraction of zeros of all kernels, in [0, 1]."""
    return self.zeros / self.total_weights if self.rows else 0.0

  def __str__(self) -> str:
    cells = [('layer', 'shape', 'weights', 'zeros', 'sparsity')]
    for row in self.rows:
      shape = ' x '.join(str(size) for size in row.shape)
      cells.append((row.name, shape, *_number_cells(row.weights, row.zeros)))
    cells.append(('total', '', *_number_cells(self.total_weights, self.zeros)))
    widths = [max(len(cell) for cell in column) for column in zip(*cells)]
    table = [_format_row(row_cells, widths) for row_cells in cells]
    rule = '-' * len(table[0])
    lines = [table[0], rule, *table[1:-1], rule, table[-1]]
    if self.left:
      lines.append('not wrapped: ' + ', '.join(self.left))
    return '\n'.join(lines)


def sparsity_summary(model: keras.Model) -> SparsitySummary:
  """Counts the zeros of each kernel of a model.

  For a wrapped model, it counts the wrapped kernels with their masks applied,
  and lists the layers that are not wrapped. For an unwrapped or stripped model,
  it counts all prunable kernels. Biases are never pruned and never counted.

  Args:
    model: a built tf_keras model.

  Returns:
    A `SparsitySummary`, which prints as a table.

  Raises:
    TypeError: `model` is not a tf_keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> print(sparsity_summary(keras.Sequential(layers)))
  layer  shape  weights  zeros  sparsity
  --------------------------------------
  small  3 x 2        6      0    0.000%
  --------------------------------------
  total               6      0    0.000%
  """
  keras_3_errors.check_keras(model, 'model', keras.Model)
  wrapped = PrunedLayers(model).kernels
  rows = [
    KernelSparsity(k.name, tuple(k.weight.shape), _zeros(k.weight, k.mask))
    for k in wrapped
  ] or [
    KernelSparsity(name, tuple(weight.shape), _zeros(weight))
    for name, weight in prunable_weights.model_kernels(model)
  ]
  return SparsitySummary(tuple(rows), _unwrapped(model) if wrapped else ())


def _zeros(weight: Any, mask: Any = None) -> int:
  """Returns the number of weights that are zero or masked."""
  zero = weight.numpy() == 0
  if mask is not None:
    zero |= mask.numpy() == 0
  return int(np.sum(zero))


def _unwrapped(model: keras.Model) -> tuple[str, ...]:
  """Returns the entries of `SparsitySummary.left`."""
  kinds: collections.Counter[str] = collections.Counter()
  named = []
  for layer in dict.fromkeys(_unwrapped_layers(model)):
    if prunable_weights.is_prunable(layer) or any(
      found.cause is layer
      for found in unpruned_layers.find(layer, wrapped=False)
    ):
      named.append(f'{layer.name} ({type(layer).__name__})')
    else:
      kinds[type(layer).__name__] += 1
  counted = [f'{kind} x {n}' if n > 1 else kind for kind, n in kinds.items()]
  return tuple(named + _unpruned_parts(model) + counted)


def _unpruned_parts(model: keras.Model) -> list[str]:
  """Returns the parts of wrapped layers that stay dense."""
  return [
    f'{type(found.cause).__name__} of {found.layer.name}'
    for wrapper in PrunedLayers(model).wrappers
    for found in unpruned_layers.find(wrapper.layer, wrapped=True)
  ]


def _unwrapped_layers(layer: Any) -> Iterator[keras.layers.Layer]:
  for inner in layer._flatten_layers(recursive=False, include_self=False):
    if isinstance(
      inner, keras.layers.InputLayer | keras_access.PruneLowMagnitude
    ):
      continue
    if not isinstance(inner, keras.Model):
      yield inner
    if not prunable_weights.is_prunable(inner):
      yield from _unwrapped_layers(inner)


def _number_cells(weights: int, zeros: int) -> tuple[str, str, str]:
  share = zeros / weights if weights else 0.0
  return f'{weights:,}', f'{zeros:,}', f'{100 * share:.3f}%'


def _format_row(cells: tuple[str, ...], widths: list[int]) -> str:
  name, shape, *numbers = cells
  left = [name.ljust(widths[0]), shape.ljust(widths[1])]
  right = [n.rjust(w) for n, w in zip(numbers, widths[2:], strict=True)]
  return '  '.join(left + right)
