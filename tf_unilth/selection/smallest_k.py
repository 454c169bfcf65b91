"""Removes the k smallest of many weights, in linear time and little memory."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Values that are processed at once, few enough for the cache of a core.
_PIECE = 1 << 18
_CORES = os.cpu_count() or 1
_Function = Callable[[Any], Any]
_Map = Callable[[_Function, Sequence[Any]], list[Any]]


class Ranks:
  """The ranks of the weights of one kernel, as a flat array.

  The rank of a weight is its absolute score; pruned weights rank below all
  others. Slices are computed on access: two copies of all weights would take
  more memory than the masks, and more time.

  Args:
    scores: the scores of the weights, of any shape.
    mask: the mask in the same shape, True where a weight is kept.
  """

  def __init__(self, scores: np.ndarray, mask: np.ndarray):
    self._scores, self._mask = scores.ravel(), mask.ravel()
    self._has_pruned = not mask.all()
    self._spared_index: int | None = None
    self.size = mask.size

  def spare_best(self) -> None:
    """Gives the largest rank the value infinity, so that its weight is kept.

    Of equal ranks it is the last one, because the first ones are pruned first.
    """
    ranks = self[:]
    best = ranks == ranks.max()
    self._spared_index = self.size - 1 - int(np.argmax(best[::-1]))

  def __getitem__(self, part: slice) -> np.ndarray:
    """Returns the ranks in a slice of the flat array."""
    ranks = np.abs(self._scores[part])
    if self._has_pruned:
      kept = self._mask[part]
      # rank * 1 - 0 if kept, rank * 0 - 1 if pruned; `np.where` takes four
      # times as long.
      ranks *= kept
      ranks -= ~kept
    if self._spared_index is not None:
      indices = range(self.size)[part]
      if self._spared_index in indices:
        ranks[indices.index(self._spared_index)] = np.inf
    return ranks


def _map_serially(function: _Function, items: Sequence[Any]) -> list[Any]:
  """Returns the results of a function for all items."""
  return [function(item) for item in items]


def _map_in_threads(function: _Function, items: Sequence[Any]) -> list[Any]:
  """Returns the results of a function for all items, in any order.

  Threads run in parallel because NumPy releases the interpreter lock. Each gets
  many items: a future per item takes a tenth more time.
  """

  def work(first: int) -> list[Any]:
    return _map_serially(function, items[first::_CORES])

  with concurrent.futures.ThreadPoolExecutor(_CORES) as pool:
    return [
      result for results in pool.map(work, range(_CORES)) for result in results
    ]


def _map_pieces(
  run_map: _Map, function: Callable[..., Any], *groups: Sequence[Any]
) -> list[Any]:
  """Returns the results of a function for pieces of arrays, in any order.

  A piece stays in the cache of a core while it is processed.

  Args:
    run_map: `_map_serially` or `_map_in_threads`.
    function: takes the same piece of one array from each group.
    *groups: sequences of equal length of flat arrays or `Ranks`; arrays at the
      same position have the same size.
  """
  pieces = [
    (arrays, slice(begin, begin + _PIECE))
    for arrays in zip(*groups, strict=True)
    for begin in range(0, arrays[0].size, _PIECE)
  ]
  return run_map(
    lambda piece: function(*(a[piece[1]] for a in piece[0])), pieces
  )


def _kth_smallest(ranks: Sequence[Ranks], count: int, run_map: _Map) -> float:
  """Returns the `count`-th smallest rank of all kernels together.

  A sorted sample gives an interval around the value, so that only the few
  values in it are copied and partitioned. Copying all weights would take longer
  than the selection.
  """
  total = sum(rank.size for rank in ranks)
  # A sample of n^(2/3) of n values leaves about as many values in the interval.
  # Sorting the former takes about as long as partitioning the latter.
  step = round(total ** (1 / 3))
  sample = np.sort(np.concatenate([rank[::step] for rank in ranks]))
  position, margin = count / total * sample.size, 2 * sample.size**0.5
  first, last = int(position - margin), int(position + margin)
  low = sample[first] if first >= 0 else -np.inf
  high = sample[last] if last < sample.size else np.inf

  def count_below_and_inside(piece: np.ndarray) -> tuple[int, np.ndarray]:
    lower = piece < low
    return int(np.count_nonzero(lower)), piece[(piece <= high) ^ lower]

  results = _map_pieces(run_map, count_below_and_inside, ranks)
  below = sum(number for number, _ in results)
  inside = np.concatenate([values for _, values in results])
  if not below < count <= below + inside.size:  # The sample missed the value.
    below, inside = 0, np.concatenate([rank[:] for rank in ranks])
  rank_inside = count - below - 1
  return np.partition(inside, rank_inside)[rank_inside]


def _without_smallest(
  ranks: Sequence[Ranks], count: int, run_map: _Map
) -> list[np.ndarray]:
  if count == 0:
    return [np.ones(rank.size, bool) for rank in ranks]
  threshold = _kth_smallest(ranks, count, run_map)
  masks = [np.empty(rank.size, bool) for rank in ranks]
  _map_pieces(
    run_map, lambda a, out: np.greater(a, threshold, out=out), ranks, masks
  )
  # Of the ranks equal to the threshold, the last ones are kept, so that the
  # count is exact.
  surplus = sum(mask.size - np.count_nonzero(mask) for mask in masks) - count
  for rank, mask in zip(reversed(ranks), reversed(masks), strict=True):
    if surplus:
      ties = np.flatnonzero(rank[:] == threshold)[-surplus:]
      mask[ties] = True
      surplus -= ties.size
  return masks


def without_smallest(ranks: Sequence[Ranks], count: int) -> list[np.ndarray]:
  """Returns flat masks that prune the `count` smallest ranks of all kernels.

  Of equal ranks, the first ones are pruned first.

  Args:
    ranks: the ranks of each kernel.
    count: the number of weights to prune over all kernels, in [0, their sum].
  """
  is_small = sum(rank.size for rank in ranks) <= _PIECE
  run_map = _map_serially if is_small else _map_in_threads
  return _without_smallest(ranks, count, run_map)


def each_without_smallest(
  ranks: Sequence[Ranks], counts: Sequence[int]
) -> list[np.ndarray]:
  """Returns flat masks that prune the smallest ranks of each kernel.

  Args:
    ranks: the ranks of each kernel.
    counts: the number of weights to prune in each kernel.
  """
  sizes = [rank.size for rank in ranks]
  if sum(sizes) <= _PIECE or max(sizes) > sum(sizes) / _CORES:
    return [
      without_smallest([rank], count)[0]
      for rank, count in zip(ranks, counts, strict=True)
    ]

  # One kernel per thread, so that no thread waits for another.
  def work(rank: Ranks, count: int) -> np.ndarray:
    return _without_smallest([rank], count, _map_serially)[0]

  with concurrent.futures.ThreadPoolExecutor(_CORES) as pool:
    return list(pool.map(work, ranks, counts))
