"""The smallest of many weights: in linear time, and copied only where equal."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# How many values are worked on at once.
_PIECE = 1 << 18
_CORES = os.cpu_count() or 1
_Work = Callable[[Any], Any]
_Run = Callable[[_Work, Sequence[Any]], list[Any]]


class Ranks:
  """By what the weights of one kernel are ranked, as a flat array.

  What is pruned ranks below all else. A part is made when it is asked for: two
  copies of all weights would take more memory than the masks, and more time.

  Args:
    scores: of the weights; their absolute values count.
    mask: True where a weight is kept.
  """

  def __init__(self, scores: np.ndarray, mask: np.ndarray):
    self._scores, self._mask = scores.ravel(), mask.ravel()
    self._has_pruned = not mask.all()
    self._spared: int | None = None
    self.size = mask.size

  def spare_best(self) -> None:
    """Ranks the best one above all that a selection may take.

    Of equal ones it is the last, because ties go by index.
    """
    ranks = self[:]
    best = ranks == ranks.max()
    self._spared = self.size - 1 - int(np.argmax(best[::-1]))

  def __getitem__(self, part: slice) -> np.ndarray:
    ranks = np.abs(self._scores[part])
    if self._has_pruned:
      kept = self._mask[part]
      # rank * 1 - 0 or rank * 0 - 1; to choose takes four times as long.
      ranks *= kept
      ranks -= ~kept
    if self._spared is not None:
      indices = range(self.size)[part]
      if self._spared in indices:
        ranks[indices.index(self._spared)] = np.inf
    return ranks


def _in_turn(function: _Work, items: Sequence[Any]) -> list[Any]:
  """Returns what a function returns for each item."""
  return [function(item) for item in items]


def _on_all_cores(function: _Work, items: Sequence[Any]) -> list[Any]:
  """Returns the same, in any order; NumPy lets go of the interpreter.

  Few threads with many items each: a future per item costs a tenth more.
  """

  def work(first: int) -> list[Any]:
    return _in_turn(function, items[first::_CORES])

  with concurrent.futures.ThreadPoolExecutor(_CORES) as pool:
    return [found for part in pool.map(work, range(_CORES)) for found in part]


def _in_pieces(
  run: _Run, function: Callable[..., Any], *groups: Sequence[Any]
) -> list[Any]:
  """Returns what a function returns for pieces of flat arrays, in any order.

  A piece stays in the cache of a core while it is worked on.

  Args:
    run: how to go through the pieces.
    function: of a piece of an array of each group.
    *groups: as many arrays or ranks each, of the same sizes.
  """
  pieces = [
    (arrays, slice(begin, begin + _PIECE))
    for arrays in zip(*groups, strict=True)
    for begin in range(0, arrays[0].size, _PIECE)
  ]
  return run(lambda piece: function(*(a[piece[1]] for a in piece[0])), pieces)


def _kth_smallest(ranks: Sequence[Ranks], count: int, run: _Run) -> float:
  """Returns the `count`-th smallest of ranks together.

  A sample brackets the value, so that only the few values in the bracket are
  copied and partitioned; copies of all weights cost more than the selection.
  """
  total = sum(rank.size for rank in ranks)
  # To sort n^(2/3) of n values costs about as much as to partition those that
  # they leave in the bracket, which are about as many.
  step = round(total ** (1 / 3))
  sample = np.sort(np.concatenate([rank[::step] for rank in ranks]))
  place, slack = count / total * sample.size, 2 * sample.size**0.5
  first, last = int(place - slack), int(place + slack)
  low = sample[first] if first >= 0 else -np.inf
  high = sample[last] if last < sample.size else np.inf

  def bracketed(piece: np.ndarray) -> tuple[int, np.ndarray]:
    lower = piece < low
    return int(np.count_nonzero(lower)), piece[(piece <= high) ^ lower]

  found = _in_pieces(run, bracketed, ranks)
  below = sum(number for number, _ in found)
  inside = np.concatenate([values for _, values in found])
  if not below < count <= below + inside.size:  # An unlucky sample.
    below, inside = 0, np.concatenate([rank[:] for rank in ranks])
  rank_inside = count - below - 1
  return np.partition(inside, rank_inside)[rank_inside]


def _without_smallest(
  ranks: Sequence[Ranks], count: int, run: _Run
) -> list[np.ndarray]:
  if count == 0:
    return [np.ones(rank.size, bool) for rank in ranks]
  threshold = _kth_smallest(ranks, count, run)
  left = [np.empty(rank.size, bool) for rank in ranks]
  _in_pieces(run, lambda a, out: np.greater(a, threshold, out=out), ranks, left)
  # Ties at the threshold go by index, the last ones stay: to take all or none
  # of them would miss the count.
  surplus = sum(o.size - np.count_nonzero(o) for o in left) - count
  for rank, stays in zip(reversed(ranks), reversed(left), strict=True):
    if surplus:
      ties = np.flatnonzero(rank[:] == threshold)[-surplus:]
      stays[ties] = True
      surplus -= ties.size
  return left


def without_smallest(ranks: Sequence[Ranks], count: int) -> list[np.ndarray]:
  """Returns what stays without the `count` smallest of all, as flat masks.

  Of equal ones the first go.
  """
  few = sum(rank.size for rank in ranks) <= _PIECE
  return _without_smallest(ranks, count, _in_turn if few else _on_all_cores)


def each_without_smallest(
  ranks: Sequence[Ranks], counts: Sequence[int]
) -> list[np.ndarray]:
  """Returns what stays of each without as many smallest of its own."""
  sizes = [rank.size for rank in ranks]
  if sum(sizes) <= _PIECE or max(sizes) > sum(sizes) / _CORES:
    return [
      without_smallest([rank], count)[0]
      for rank, count in zip(ranks, counts, strict=True)
    ]

  # Side by side: a core that has one to itself need not wait for others.
  def work(rank: Ranks, count: int) -> np.ndarray:
    return _without_smallest([rank], count, _in_turn)[0]

  with concurrent.futures.ThreadPoolExecutor(_CORES) as pool:
    return list(pool.map(work, ranks, counts))
