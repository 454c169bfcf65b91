"""Compares two tickets: the weights they keep and their rewind weights."""

import os
from collections.abc import Mapping

import numpy as np

from tf_unilth.inspection import contents, readers
from tf_unilth.tickets import model_matching
from tf_unilth.tickets.ticket import Ticket

_HEADER = (
  'kernel',
  'weights',
  'kept here',
  'kept there',
  'kept by both',
  'overlap',
)


def compare_tickets(
  path: str | os.PathLike[str], other: str | os.PathLike[str]
) -> str:
  """Returns a table that compares two tickets of one architecture.

  The overlap is the Jaccard index: the weights that both keep, as a share of
  those that at least one keeps. Kernels and rewind weights are matched as in
  `Ticket.apply`: in order, by shape, and by name without its number.

  Args:
    path: of the first ticket.
    other: of the second ticket.

  Raises:
    UnreadableError: a path is not a ticket, or the architectures differ.
  """
  one, two = _load(path), _load(other)
  _check_same(
    path,
    other,
    'kernel',
    model_matching.of_masks(one.masks),
    model_matching.of_masks(two.masks),
  )
  rows = [
    _row(name, mask, other_mask)
    for (name, mask), other_mask in zip(
      one.masks.items(), two.masks.values(), strict=True
    )
  ]
  total = _row('total', *(_flat(ticket.masks) for ticket in (one, two)))
  lines = contents.table([_HEADER, *rows, total], left=1)
  weights = _weights(path, other, one.rewind_weights, two.rewind_weights)
  return '\n'.join([f'\nagainst {os.fspath(other)}:', '', *lines, '', weights])


def _load(path: str | os.PathLike[str]) -> Ticket:
  return readers.with_read_errors(lambda: Ticket.load(path), path)


def _row(name: str, one: np.ndarray, two: np.ndarray) -> tuple[str, ...]:
  counts = [np.count_nonzero(mask) for mask in (one, two, one & two)]
  either = np.count_nonzero(one | two)
  overlap = counts[-1] / either if either else 1.0
  numbers = [f'{count:,}' for count in (one.size, *counts)]
  return (name, *numbers, f'{100 * overlap:.3f}%')


def _flat(masks: Mapping[str, np.ndarray]) -> np.ndarray:
  return np.concatenate([mask.reshape(-1) for mask in masks.values()])


def _weights(
  path: str | os.PathLike[str],
  other: str | os.PathLike[str],
  one: Mapping[str, np.ndarray] | None,
  two: Mapping[str, np.ndarray] | None,
) -> str:
  """Returns a line about the rewind weights."""
  if one is None or two is None:
    has = [
      os.fspath(p) for p, w in ((path, one), (other, two)) if w is not None
    ]
    return f'rewind weights: {f"only {has[0]} has them" if has else "none"}'
  _check_same(
    path,
    other,
    'rewind weight',
    model_matching.of_values(one),
    model_matching.of_values(two),
  )
  pairs = list(zip(one.items(), two.values(), strict=True))
  if all(a.tobytes() == b.tobytes() for (_, a), b in pairs):
    return f'rewind weights: all {len(pairs)} the same to the bit'
  found = {name: _difference(a, b) for (name, a), b in pairs}
  worst = max(found, key=found.__getitem__)
  same = sum(a.tobytes() == b.tobytes() for (_, a), b in pairs)
  return (
    f'rewind weights: differ by {found[worst]:.3g} at most, in {worst}; '
    f'{same} of {len(pairs)} the same to the bit'
  )


def _difference(one: np.ndarray, two: np.ndarray) -> float:
  a, b = one.astype(np.float64), two.astype(np.float64)
  with np.errstate(invalid='ignore'):
    found = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
  # A NaN on one side alone counts as an infinite difference.
  return float(np.max(np.where(np.isnan(found), np.inf, found)))


def _check_same(
  path: str | os.PathLike[str],
  other: str | os.PathLike[str],
  kind: str,
  mine: list[model_matching.WeightSpec],
  theirs: list[model_matching.WeightSpec],
) -> None:
  found = model_matching.difference(kind, mine, theirs, 'it', 'the other')
  if found:
    raise readers.UnreadableError(
      f'{os.fspath(path)!r} does not fit {os.fspath(other)!r}: {found}'
    )
