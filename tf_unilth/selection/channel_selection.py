"""Selection of whole units: the fewest that reach a share of weights or FLOPs.

Units go in the order of their ranks until the target is reached, so the number
of zeros is not exactly round(s n). One unit of each group always stays.
"""

import numpy as np

from tf_unilth.selection.channels import Channels

# The share of a target that rounding may miss.
_TOLERANCE = 1e-9


def random_units(channels: Channels, seed: int) -> np.ndarray:
  """Returns a fixed random order of the units, as scores.

  Each group is drawn by itself, from the seed and its position.

  Args:
    channels: the units.
    seed: the seed of the order, at least 0.

  Returns:
    Scores in [0, 1), shape (units,).
  """
  drawn = [
    np.random.Generator(np.random.PCG64([seed, index])).random(group.size)
    for index, group in enumerate(channels.groups)
  ]
  return np.concatenate(drawn)


def select_units(
  channels: Channels,
  scores: np.ndarray,
  kept: np.ndarray,
  share: float,
  of: str,
  scope: str,
) -> np.ndarray:
  """Returns a mask of units that removes the fewest to reach a share.

  Units that are gone stay gone. Ties are broken by index.

  Args:
    channels: the units.
    scores: the score of each unit, finite and at least 0, shape (units,); the
      smallest go first.
    kept: the present mask of units.
    share: the share of the weights or FLOPs to remove, in [0, 1).
    of: `'weights'` or `'flops'`.
    scope: `'global'` ranks the units of all groups together, by their scores
      relative to the mean of their group. `'layer'` removes the same share of
      each group. `'erk'` keeps shares proportional to the Erdos-Renyi-kernel
      densities.

  Raises:
    ValueError: the share cannot be reached with one unit left in each group.

  >>> from tf_unilth.selection.channels import UnitAxis, UnitGroup, UnitWeight
  >>> made = UnitAxis(1, np.arange(4), makes=True)
  >>> channels = Channels((UnitGroup('a', 4),), (UnitWeight((5, 4), (made,)),),
  ...                     lambda units: 0)
  >>> ones, scores = np.ones(4, bool), np.array([3., 1., 2., 4.])
  >>> select_units(channels, scores, ones, 0.3, 'weights', 'global').tolist()
  [True, False, False, True]
  """
  ranks = _ranks(channels, scores, kept, scope)
  ranks[~kept] = -np.inf
  last = _best_of_groups(channels, ranks)
  ranks[last] = np.inf
  order = np.argsort(ranks, kind='stable')

  def mask(count: int) -> np.ndarray:
    result = np.ones(order.size, bool)
    result[order[:count]] = False
    return result

  def reaches(count: int) -> bool:
    return channels.removed(of, mask(count)) >= share - _TOLERANCE

  low = int(np.count_nonzero(~kept))
  high = max(low, order.size - len(last))
  if not reaches(high):
    raise ValueError(
      f'{share:.6g} of the {of} cannot be removed with one unit left in each '
      f'group: {channels.removed(of, mask(high)):.6g} is the most.'
    )
  while low < high:
    middle = (low + high) // 2
    low, high = (low, middle) if reaches(middle) else (middle + 1, high)
  return mask(low)


def highest_share(channels: Channels, of: str) -> float:
  """Returns the share that is gone with one unit left in each group.

  Args:
    channels: the units.
    of: `'weights'` or `'flops'`.
  """
  kept = np.zeros(channels.unit_count, bool)
  kept[_best_of_groups(channels, np.zeros(kept.size))] = True
  return channels.removed(of, kept)


def _best_of_groups(channels: Channels, ranks: np.ndarray) -> np.ndarray:
  """Returns the unit with the largest rank of each group, the last of equals.

  The first ones of equals are removed first.
  """
  best, begin = [], 0
  for group in channels.groups:
    own = ranks[begin : begin + group.size]
    best.append(begin + group.size - 1 - int(np.argmax(own[::-1])))
    begin += group.size
  return np.array(best, int)


def _ranks(
  channels: Channels, scores: np.ndarray, kept: np.ndarray, scope: str
) -> np.ndarray:
  """Returns comparable ranks of the units of all groups."""
  ranks = np.zeros(channels.unit_count)
  begin = 0
  for group in channels.groups:
    own = slice(begin, begin + group.size)
    begin += group.size
    if scope == 'global':
      total, count = scores[own][kept[own]].sum(), np.count_nonzero(kept[own])
      ranks[own] = scores[own] * count / total if total > 0 else 0.0
      continue
    # The share of the group that is gone if the unit is the last to go.
    alive = np.where(kept[own], scores[own], -np.inf)
    position = np.argsort(np.argsort(alive, kind='stable'), kind='stable')
    gone = (position + 1) / group.size
    ranks[own] = gone if scope == 'layer' else (gone - 1) / group.density
  return ranks
