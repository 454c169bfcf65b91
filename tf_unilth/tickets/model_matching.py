"""Compares the kernels or weights of a model with those of a ticket, in order.

Shapes and dtypes must be equal. Names are compared without a trailing number
(`dense_3`), because Keras numbers all layers that a process creates.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

_Match = list[int | None]


@dataclasses.dataclass(frozen=True)
class WeightSpec:
  """The name, shape and dtype of a kernel or weight.

  Args:
    name: the name that messages show.
    shape: the array's shape.
    stem: the part of the name that is compared.
    dtype: a weight's dtype; empty for a kernel, whose dtype is not compared.
  """

  name: str
  shape: tuple[int, ...]
  stem: str
  dtype: str = ''

  def __str__(self) -> str:
    dtype = f' and dtype {self.dtype}' if self.dtype else ''
    return f'{self.name!r} of shape {self.shape}{dtype}'

  def fits(self, other: 'WeightSpec') -> bool:
    """Returns whether stem, shape and dtype are equal.

    Args:
      other: the spec to compare with.
    """
    return dataclasses.replace(other, name=self.name) == self


def kernel_spec(name: str, shape: tuple[int, ...]) -> WeightSpec:
  """Returns the spec of a kernel, which is compared by its whole name.

  Args:
    name: the kernel's name.
    shape: its shape.
  """
  return WeightSpec(name, shape, _stem(name))


def of_weight(name: str, shape: tuple[int, ...], dtype: str) -> WeightSpec:
  """Returns the spec of a weight, which is compared by its own name (`bias`).

  Args:
    name: the weight's name, with the name of its layer.
    shape: its shape.
    dtype: its dtype.
  """
  return WeightSpec(name, shape, _stem(name.split('/')[-1]), dtype)


def of_masks(masks: Mapping[str, np.ndarray]) -> list[WeightSpec]:
  """Returns the specs of a ticket's masks.

  Args:
    masks: the masks by kernel name.
  """
  return [kernel_spec(name, mask.shape) for name, mask in masks.items()]


def of_values(values: Mapping[str, np.ndarray]) -> list[WeightSpec]:
  """Returns the specs of a ticket's rewind weights.

  Args:
    values: the rewind weights by name.
  """
  return [
    of_weight(name, value.shape, value.dtype.name)
    for name, value in values.items()
  ]


def difference(
  kind: str,
  first: Sequence[WeightSpec],
  second: Sequence[WeightSpec],
  first_owner: str,
  second_owner: str,
) -> str:
  """Describes the first difference between two lists of specs.

  Args:
    kind: what a spec stands for, such as `kernel`.
    first: one list.
    second: the other list.
    first_owner: what the message calls the owner of `first`.
    second_owner: what it calls the owner of `second`.

  Returns:
    A sentence, empty if the lists are equal.

  >>> specs = [kernel_spec('dense_7', (2, 3)), kernel_spec('head', (3, 1))]
  >>> difference('kernel', specs, specs[:1], 'one', 'other')
  "it has 2 kernels, other 1; only one has 'head' of shape (3, 1)."
  >>> difference('kernel', specs, [kernel_spec('dense', (2, 3))] + specs[1:],
  ...            'one', 'other')
  ''
  """
  for number, (one, other) in enumerate(zip(first, second), start=1):
    if not one.fits(other):
      same_type = one.shape == other.shape and one.dtype == other.dtype
      why = ', and names are compared' if same_type else ''
      return f"its {kind} {number} is {one}, {second_owner}'s {other}{why}."
  if len(first) == len(second):
    return ''
  longer, owner = (
    (first, first_owner) if len(first) > len(second) else (second, second_owner)
  )
  extra = longer[min(len(first), len(second))]
  return (
    f'it has {len(first)} {kind}s, {second_owner} {len(second)}; only {owner} '
    f'has {extra}.'
  )


def match_specs(
  specs: Sequence[WeightSpec],
  wanted: Sequence[WeightSpec],
  skipped: Sequence[bool],
) -> list[_Match]:
  """Finds the best ways to match specs in order, leaving out some of them.

  Each wanted spec that is not skipped must match, in order. Specs without a
  match may only stand where wanted specs are skipped. The best match has, at
  each such place, a number of specs as close as possible to the number of
  skipped ones.

  Args:
    specs: the list to search.
    wanted: the specs to find in it.
    skipped: for each wanted spec, whether it is left out.

  Returns:
    For each wanted spec its index in `specs`, or `None` if it is skipped. Two
    such lists if there are several best matches, none if there is no match.

  >>> body = [kernel_spec('a', (2, 3)), kernel_spec('b', (3, 3))]
  >>> specs = [*body, kernel_spec('head', (3, 1))]
  >>> wanted = [*body, kernel_spec('classes', (3, 7))]
  >>> match_specs(specs, wanted, [False, False, True])
  [[0, 1, None]]
  >>> match_specs(specs, wanted, [False, True, True])
  [[0, None, None]]
  >>> match_specs(specs, wanted, [False, False, False])
  []
  """
  runs = [(skips, len(list(run))) for skips, run in itertools.groupby(skipped)]

  @functools.cache
  def best(run: int, begin: int, at: int) -> tuple[float, list[_Match]]:
    """Matches `runs[run:]`, from `wanted[at]` on, with `specs[begin:]`.

    Returns:
      The sum of the differences in length at the skipped places, and at most
      two of the best matches.
    """
    if run == len(runs):
      return (0, [[]]) if begin == len(specs) else (math.inf, [])
    skips, count = runs[run]
    if not skips:
      end = begin + count
      if end > len(specs) or not all(
        map(WeightSpec.fits, specs[begin:end], wanted[at : at + count])
      ):
        return math.inf, []
      cost, rests = best(run + 1, end, at + count)
      return cost, [[*range(begin, end), *rest] for rest in rests]
    least, found = math.inf, list[_Match]()
    for end in range(begin, len(specs) + 1):
      cost, rests = best(run + 1, end, at + count)
      cost += abs(end - begin - count)
      if cost <= least and rests:
        found = rests if cost < least else found + rests
        least = cost
    return least, [
      [*itertools.repeat(None, count), *rest] for rest in found[:2]
    ]

  return best(0, 0, 0)[1]


def _stem(name: str) -> str:
  """Returns a name without Keras's numbers and without our own suffix (#2)."""
  parts = name.partition('#')[0].split('/')
  return '/'.join(re.sub(r'_\d+$', '', part) for part in parts)
