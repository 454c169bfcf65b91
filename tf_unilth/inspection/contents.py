"""The contents of a file or folder: weights, checks and facts, as a table."""

import dataclasses
import math
import pathlib

_HEADER = ('tensor', 'shape', 'type', 'weights', 'zeros', 'sparsity', 'bytes')


@dataclasses.dataclass(frozen=True)
class Weight:
  """A tensor with two axes or more.

  Args:
    name: in the file.
    shape: after unpacking.
    dtype: of the stored values.
    zeros: how many elements are 0.
    bytes: as stored, uncompressed.
    finite: whether no element is NaN or infinite.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  zeros: int
  bytes: int
  finite: bool

  @property
  def weights(self) -> int:
    """The number of elements."""
    return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Check:
  """A check: its name, whether it passed, and a detail."""

  name: str
  passed: bool
  found: str = ''


@dataclasses.dataclass(frozen=True)
class Contents:
  """The content of a path; prints as a table.

  Args:
    kind: of the file or folder.
    path: its path.
    weights: its tensors with two axes or more.
    bytes: its size on disk.
    checks: results of checks.
    facts: other information by name.
  """

  kind: str
  path: str
  weights: tuple[Weight, ...]
  bytes: int
  checks: tuple[Check, ...]
  facts: dict[str, str] = dataclasses.field(default_factory=dict)

  @property
  def zeros(self) -> int:
    """The number of weights that are 0."""
    return sum(weight.zeros for weight in self.weights)

  def __str__(self) -> str:
    rows = [
      _row(w.name, ' x '.join(map(str, w.shape)), w.dtype, w)
      for w in self.weights
    ]
    lines = [f'{self.kind} {self.path}', '']
    facts = dict(self.facts)
    if rows:
      lines += [*table([_HEADER, *rows], left=3), '']
      facts |= _totals(self)
    facts['bytes on disk'] = f'{self.bytes:,}'
    for check in self.checks:
      verdict = 'passed' if check.passed else 'FAILED'
      detail = f' ({check.found})' if check.found else ''
      facts[f'check: {check.name}'] = verdict + detail
    width = max(map(len, facts))
    lines += [f'{key.ljust(width)}  {value}' for key, value in facts.items()]
    return '\n'.join(lines)


def _totals(contents: Contents) -> dict[str, str]:
  count = sum(weight.weights for weight in contents.weights)
  stored = sum(weight.bytes for weight in contents.weights)
  return {
    'weights': f'{count:,}, {contents.zeros:,} zeros '
    f'({100 * contents.zeros / max(count, 1):.3f}%)',
    'bytes stored': f'{stored:,}, dense float32 {4 * count:,} '
    f'({4 * count / max(stored, 1):.1f} times as many)',
  }


def _row(name: str, shape: str, dtype: str, weight: Weight) -> tuple[str, ...]:
  share = 100 * weight.zeros / max(weight.weights, 1)
  numbers = f'{weight.weights:,}', f'{weight.zeros:,}', f'{share:.3f}%'
  return name, shape, dtype, *numbers, f'{weight.bytes:,}'


def table(rows: list[tuple[str, ...]], left: int) -> list[str]:
  """Returns the lines of a table.

  Args:
    rows: of cells, the header first.
    left: the number of leading columns that are left-aligned.
  """
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    '  '.join(
      cell.ljust(width) if i < left else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  ]
  return [lines[0], '-' * len(lines[0]), *lines[1:]]


def collect_contents(
  kind: str,
  path: pathlib.Path,
  weights: tuple[Weight, ...],
  size: int,
  facts: dict[str, str],
) -> Contents:
  """Returns the content of a path that was read, with the checks of all."""
  bad = [weight.name for weight in weights if not weight.finite]
  zeros = sum(weight.zeros for weight in weights)
  checks = (
    Check('loads', True),
    Check('finite', not bad, ', '.join(bad)),
    Check('zeros', True, f'{zeros:,}' if zeros else 'none: a dense model'),
  )
  return Contents(kind, str(path), weights, size, checks, facts)
