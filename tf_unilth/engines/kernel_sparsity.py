"""KernelSparsity and SparsitySummary: the zeros of a model, as a table."""

import dataclasses
import math


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


def _number_cells(weights: int, zeros: int) -> tuple[str, str, str]:
  share = zeros / weights if weights else 0.0
  return f'{weights:,}', f'{zeros:,}', f'{100 * share:.3f}%'


def _format_row(cells: tuple[str, ...], widths: list[int]) -> str:
  name, shape, *numbers = cells
  left = [name.ljust(widths[0]), shape.ljust(widths[1])]
  right = [n.rjust(w) for n, w in zip(numbers, widths[2:], strict=True)]
  return '  '.join(left + right)
