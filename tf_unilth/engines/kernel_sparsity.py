"""The zeros of a model, kernel by kernel, and its channels; as a table."""

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
class ChannelSparsity:
  """The channels and FLOPs of a model that is pruned by whole channels.

  Args:
    units: the number of channels that may be removed; coupled ones count once.
    removed: how many of them are removed.
    flops: the floating-point operations for one sample, two for each
      multiply-accumulate; `None` if the inputs have no fixed shape.
    flops_removed: how many of them are saved when the removed channels are cut
      out.
    pinned: the layers that keep their width, each with the reason.
  """

  units: int
  removed: int
  flops: int | None
  flops_removed: int | None
  pinned: tuple[str, ...]

  @property
  def flops_sparsity(self) -> float | None:
    """The fraction of the FLOPs that is removed, in [0, 1), if it is known."""
    if self.flops is None or self.flops_removed is None:
      return None
    return self.flops_removed / self.flops

  def __str__(self) -> str:
    line = f'channels: {self.removed:,} of {self.units:,} are removed'
    share = self.flops_sparsity
    if share is not None:
      line += f', {100 * share:.3f}% of {self.flops:,} FLOPs'
    if self.pinned:
      line += f'\nkeep their width: {", ".join(self.pinned)}'
    return line


@dataclasses.dataclass(frozen=True)
class SparsitySummary:
  """The sparsity of a model's kernels; prints as a table.

  Args:
    rows: one per kernel.
    left: for a model that is pruned, the layers that are not: by name if they
      have trainable matrices, else by class. Includes unpruned parts of wrapped
      layers.
    channels: what is removed, if the model was wrapped with
      `structure='channels'`.
  """

  rows: tuple[KernelSparsity, ...]
  left: tuple[str, ...] = ()
  channels: ChannelSparsity | None = None

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
    if self.channels is not None:
      lines.append(str(self.channels))
    if self.left:
      lines.append('left dense: ' + ', '.join(self.left))
    return '\n'.join(lines)


def _number_cells(weights: int, zeros: int) -> tuple[str, str, str]:
  share = zeros / weights if weights else 0.0
  return f'{weights:,}', f'{zeros:,}', f'{100 * share:.3f}%'


def _format_row(cells: tuple[str, ...], widths: list[int]) -> str:
  name, shape, *numbers = cells
  left = [name.ljust(widths[0]), shape.ljust(widths[1])]
  right = [n.rjust(w) for n, w in zip(numbers, widths[2:], strict=True)]
  return '  '.join(left + right)
