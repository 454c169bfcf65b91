"""Whole units: the fewest that reach a share, nested, one left in a group."""

import numpy as np
import pytest

from tf_unilth.selection import channel_selection
from tf_unilth.selection.channels import (
  Channels,
  UnitAxis,
  UnitGroup,
  UnitWeight,
)


def _chain(*sizes, flops_per_weight=(1, 1, 1)):
  """Returns the units between the kernels of a chain, with biases."""
  weights, groups, begin = [], [], 0
  before = np.full(5, -1)  # The inputs stay.
  for index, size in enumerate((*sizes, 3)):
    is_last = index == len(sizes)
    units = np.full(3, -1) if is_last else np.arange(begin, begin + size)
    weights.append(
      UnitWeight(
        (before.size, size),
        (UnitAxis(0, before, makes=False), UnitAxis(1, units, makes=True)),
      )
    )
    weights.append(
      UnitWeight((size,), (UnitAxis(0, units, makes=True),), is_counted=False)
    )
    if not is_last:
      groups.append(UnitGroup(f'layer_{index}', size, 1 / size))
      begin, before = begin + size, units

  def flops(units):
    kernels = weights[::2]
    return sum(
      k.size(units) * cost
      for k, cost in zip(kernels, flops_per_weight, strict=True)
    )

  return Channels(tuple(groups), tuple(weights), flops)


def _scores(channels, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(0.1, 1, channels.unit_count)


EACH = pytest.mark.parametrize('of', ['weights', 'flops'])
SCOPES = pytest.mark.parametrize('scope', ['global', 'layer', 'erk'])


@EACH
@SCOPES
def test_the_fewest_units_go_nested_and_in_the_order_of_ranks(of, scope):
  channels = _chain(12, 7, flops_per_weight=(9, 4, 1))
  scores, kept = _scores(channels), np.ones(19, bool)
  for share in (0.1, 0.3, 0.5, 0.7, 0.9):
    new = channel_selection.select_units(
      channels, scores, kept, share, of, scope
    )
    assert not (new & ~kept).any()
    assert channels.removed(of, new) >= share
    # Any one of those that went last would be missed.
    for group in range(2):
      gone = np.flatnonzero(kept & ~new & (channels.group_of == group))
      left = np.flatnonzero(new & (channels.group_of == group))
      assert left.size
      if gone.size:
        assert scores[gone].max() < scores[left].max()
    fewer = [
      channels.removed(of, new | (np.arange(19) == unit))
      for unit in np.flatnonzero(kept & ~new)
    ]
    assert not fewer or min(fewer) < share
    kept = new


@SCOPES
def test_a_unit_that_is_gone_stays_gone_whatever_its_score(scope):
  channels, kept = _chain(6, 4), np.arange(10) > 0
  scores = np.ones(10)
  scores[0] = 100
  new = channel_selection.select_units(
    channels, scores, kept, 0.4, 'weights', scope
  )
  assert not new[0] and new[:6].any()


def test_one_unit_of_each_group_stays_and_too_much_is_an_error():
  channels = _chain(6, 4)
  highest = channel_selection.highest_share(channels, 'weights')
  total = 5 * 6 + 6 * 4 + 4 * 3
  assert highest == (total - (5 + 1 + 3)) / total
  scores = np.arange(10.0)
  kept = channel_selection.select_units(
    channels, scores, np.ones(10, bool), highest, 'weights', 'global'
  )
  assert np.flatnonzero(kept).tolist() == [5, 9]
  with pytest.raises(ValueError, match='weights cannot be removed'):
    channel_selection.select_units(
      channels, scores, np.ones(10, bool), 0.99, 'weights', 'global'
    )


def test_global_ranks_are_relative_to_the_mean_of_the_group():
  channels = _chain(4, 4)
  scores = np.array([1.0, 2, 3, 4, 100, 200, 310, 400])
  kept = channel_selection.select_units(
    channels, scores, np.ones(8, bool), 0.31, 'weights', 'global'
  )
  assert np.flatnonzero(~kept).tolist() == [0, 4]


def test_layers_lose_equal_shares_and_erk_keeps_more_of_small_layers():
  channels = _chain(20, 10)
  scores, ones = _scores(channels), np.ones(30, bool)

  def kept(scope):
    units = channel_selection.select_units(
      channels, scores, ones, 0.6, 'weights', scope
    )
    return np.bincount(channels.group_of[units]) / [20, 10]

  first, second = kept('layer')
  assert abs(first - second) <= 0.1
  first, second = kept('erk')
  assert second > 1.5 * first


def test_random_units_depend_on_the_seed_and_the_group_alone():
  short, long = _chain(6, 4), _chain(6, 9)
  one = channel_selection.random_units(short, 3)
  assert np.array_equal(one[:6], channel_selection.random_units(long, 3)[:6])
  assert not np.array_equal(one, channel_selection.random_units(short, 4))


def test_masks_of_weights_and_units_are_each_others_inverse():
  channels = _chain(6, 4)
  kept = _scores(channels, 1) > 0.5
  masks = channels.masks(kept)
  assert np.array_equal(channels.kept_units(masks), kept)
  rows, columns = kept[:6], kept[6:]
  np.testing.assert_array_equal(masks[2], np.outer(rows, columns))
  np.testing.assert_array_equal(masks[1], rows)
  assert masks[5].all()  # The bias of the output.
  zeros = sum(int((~mask).sum()) for mask in masks[::2])
  total = channels.total('weights')
  assert channels.left('weights', kept) == total - zeros


def test_the_norm_of_a_unit_is_over_all_that_goes_with_it():
  channels = _chain(2, 2)
  values = [np.zeros(w.shape) for w in channels.weights]
  values[0][:, 1] = 3  # Five weights make unit 1.
  values[1][1] = 2  # Its bias.
  values[2][1, :] = [1, 4]  # What reads it; 4 makes unit 3.
  norms = channels.norms(values)
  np.testing.assert_allclose(np.square(norms), [0, 5 * 9 + 4 + 17, 1, 16])
