"""ChannelIds: which channels of a network's tensors must go together.

NumPy alone. Each channel of a tensor has an id. Channels that an operation
couples, such as the two that `Add` adds, are united. What is united is a unit.
"""

import numpy as np


class ChannelIds:
  """Ids of channels, united into units.

  >>> ids = ChannelIds()
  >>> one, other = ids.create(3), ids.create(3)
  >>> ids.unite(one[:2], other[:2])
  >>> ids.pin(other[:1], 'output of the model')
  >>> ids.units()
  array([0, 1, 2, 0, 1, 3])
  >>> ids.pins()
  {0: 'output of the model'}
  """

  def __init__(self) -> None:
    self._parents: list[int] = []
    self._pins: list[tuple[np.ndarray, str]] = []

  def create(self, count: int) -> np.ndarray:
    """Returns new ids, each in a unit of its own.

    Args:
      count: the number of ids.
    """
    start = len(self._parents)
    self._parents.extend(range(start, start + count))
    return np.arange(start, start + count)

  def unite(self, one: np.ndarray, other: np.ndarray) -> None:
    """Unites the channels of two arrays, element by element.

    Args:
      one: ids of channels.
      other: as many ids.
    """
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
      a, b = self._root(a), self._root(b)
      # The smaller id is the root, so that units are in the order of creation.
      self._parents[max(a, b)] = min(a, b)

  def pin(self, ids: np.ndarray, reason: str) -> None:
    """Notes that channels cannot be removed.

    Args:
      ids: ids of channels.
      reason: why, for reports. The first reason of a unit stands.
    """
    self._pins.append((ids, reason))

  def units(self) -> np.ndarray:
    """Returns the unit of each id. Units are numbered from 0."""
    roots = [self._root(i) for i in range(len(self._parents))]
    if not roots:
      return np.zeros(0, np.int64)
    return np.unique(roots, return_inverse=True)[1].reshape(-1)

  def pins(self) -> dict[int, str]:
    """Returns the reason of each pinned unit."""
    units = self.units()
    reasons: dict[int, str] = {}
    for ids, reason in self._pins:
      for unit in units[ids].tolist():
        reasons.setdefault(unit, reason)
    return reasons

  def _root(self, i: int) -> int:
    while self._parents[i] != i:
      self._parents[i] = self._parents[self._parents[i]]
      i = self._parents[i]
    return i
