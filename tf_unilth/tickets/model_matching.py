"""Layouts: what kernels or weights a model or a ticket has, compared in order.

Shapes and dtypes count exactly. Names count without the numbers that end them
(`dense_3`), since Keras counts all layers that a process makes.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

_Way = list[int | None]


@dataclasses.dataclass(frozen=True)
class WeightSpec:
  """A kernel or weight: what is shown of it, and what is compared.

  Args:
    name: as it is shown.
    shape: of the array.
    stem: of the name, what is compared of it.
    dtype: of a weight; empty for a kernel, of which it does not count.
  """

  name: str
  shape: tuple[int, ...]
  stem: str
  dtype: str = ''

  def __str__(self) -> str:
    dtype = f' and dtype {self.dtype}' if self.dtype else ''
    return f'{self.name!r} of shape {self.shape}{dtype}'

  def fits(self, other: 'WeightSpec') -> bool:
    """Returns whether one can stand for the other."""
    return dataclasses.replace(other, name=self.name) == self


def kernel_spec(name: str, shape: tuple[int, ...]) -> WeightSpec:
  """Returns the line of a kernel, of which the whole name counts."""
  return WeightSpec(name, shape, _stem(name))


def of_weight(name: str, shape: tuple[int, ...], dtype: str) -> WeightSpec:
  """Returns the line of a weight, of which its own name counts (`bias`)."""
  return WeightSpec(name, shape, _stem(name.split('/')[-1]), dtype)


def of_masks(masks: Mapping[str, np.ndarray]) -> list[WeightSpec]:
  """Returns the layout of a ticket's masks."""
  return [kernel_spec(name, mask.shape) for name, mask in masks.items()]


def of_values(values: Mapping[str, np.ndarray]) -> list[WeightSpec]:
  """Returns the layout of a ticket's rewind weights."""
  return [
    of_weight(name, value.shape, value.dtype.name)
    for name, value in values.items()
  ]


def difference(
  kind: str,
  mine: Sequence[WeightSpec],
  theirs: Sequence[WeightSpec],
  i: str,
  they: str,
) -> str:
  """Returns the first difference of two layouts, empty if there is none.

  Args:
    kind: what a line is called, such as `kernel`.
    mine: one layout.
    theirs: another.
    i: who has the one.
    they: who has the other.

  >>> some = [of_kernel('dense_7', (2, 3)), kernel_spec('head', (3, 1))]
  >>> difference('kernel', some, some[:1], 'one', 'other')
  "it has 2 kernels, other 1; only one has 'head' of shape (3, 1)."
  >>> difference('kernel', some, [kernel_spec('dense', (2, 3))] + some[1:],
  ...            'one', 'other')
  ''
  """
  for number, (one, other) in enumerate(zip(mine, theirs), start=1):
    if not one.fits(other):
      names = one.shape == other.shape and one.dtype == other.dtype
      why = ', and names are compared' if names else ''
      return f"its {kind} {number} is {one}, {they}'s {other}{why}."
  if len(mine) == len(theirs):
    return ''
  longer, whose = (mine, i) if len(mine) > len(theirs) else (theirs, they)
  first = longer[min(len(mine), len(theirs))]
  return (
    f'it has {len(mine)} {kind}s, {they} {len(theirs)}; only {whose} has '
    f'{first}.'
  )


def places(
  mine: Sequence[WeightSpec],
  theirs: Sequence[WeightSpec],
  skipped: Sequence[bool],
) -> list[_Way]:
  """Returns where the lines of one layout stand in another, as they fit best.

  The lines that are not skipped must be there, in their order, and others only
  where some are skipped. That way is best in which as many others stand there
  as are skipped, or as nearly as many as can be.

  Args:
    mine: the layout to look in.
    theirs: the lines to look for.
    skipped: which of those to leave out.

  Returns:
    For each line of `theirs` its index in `mine`, `None` for one that is
    skipped; two such lists if there are several best ways, no list if there is
    none.

  >>> body = [of_kernel('a', (2, 3)), kernel_spec('b', (3, 3))]
  >>> mine = [*body, kernel_spec('head', (3, 1))]
  >>> theirs = [*body, kernel_spec('classes', (3, 7))]
  >>> places(mine, theirs, [False, False, True])
  [[0, 1, None]]
  >>> places(mine, theirs, [False, True, True])
  [[0, None, None]]
  >>> places(mine, theirs, [False, False, False])
  []
  """
  runs = [(skips, len(list(run))) for skips, run in itertools.groupby(skipped)]

  @functools.cache
  def ways(run: int, mark: int, line: int) -> tuple[float, list[_Way]]:
    """Lays the runs from `run` on upon `mine[mark:]`.

    Returns:
      By how many lines the gaps differ, and the first two of the best ways.
    """
    if run == len(runs):
      return (0, [[]]) if mark == len(mine) else (math.inf, [])
    skips, count = runs[run]
    if not skips:
      end = mark + count
      lines = theirs[line : line + count]
      if end > len(mine) or not all(
        map(WeightSpec.fits, mine[mark:end], lines)
      ):
        return math.inf, []
      differ, rests = ways(run + 1, end, line + count)
      return differ, [[*range(mark, end), *rest] for rest in rests]
    least, best = math.inf, list[_Way]()
    for end in range(mark, len(mine) + 1):
      differ, rests = ways(run + 1, end, line + count)
      differ += abs(end - mark - count)
      if differ <= least and rests:
        best = rests if differ < least else best + rests
        least = differ
    return least, [[*itertools.repeat(None, count), *rest] for rest in best[:2]]

  return ways(0, 0, 0)[1]


def _stem(name: str) -> str:
  """Returns a name without what counts: Keras's numbers, and ours."""
  parts = name.partition('#')[0].split('/')
  return '/'.join(re.sub(r'_\d+$', '', part) for part in parts)
