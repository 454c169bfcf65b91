"""masks: exact counts, ties, nesting, shares; against plain NumPy."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from tf_unilth.selection import (
  layer_shares,
  mask_selection,
  round_sparsity,
  smallest_k,
)


def _ones(*shapes):
  return [np.ones(shape, bool) for shape in shapes]


def _zeros(found):
  return [int(np.sum(~mask)) for mask in found]


def test_a_hand_made_example():
  scores = [np.array([[5.0, 1.0], [2.0, 9.0]]), np.array([3.0, 0.5])]
  found = mask_selection.select(scores, _ones((2, 2), 2), 0.5, 'global')
  assert found[0].tolist() == [[True, False], [False, True]]
  assert found[1].tolist() == [True, False]


def test_ties_go_by_index_and_the_count_is_exact():
  found = mask_selection.select([np.ones(10)], _ones(10), 0.3, 'global')
  assert found[0].tolist() == [False] * 3 + [True] * 7


def test_all_zero_weights_do_not_open_the_mask():
  found = mask_selection.select([np.zeros(8)], _ones(8), 0.5, 'global')
  assert _zeros(found) == [4]


@pytest.mark.parametrize('scope', layer_shares.SCOPES)
def test_weights_of_zero_that_are_kept_rank_above_pruned_ones(scope):
  before = np.array([True] * 6 + [False] * 2)
  (found,) = mask_selection.select([np.zeros(8)], [before], 0.5, scope)
  assert found.tolist() == [False] * 2 + [True] * 4 + [False] * 2


@pytest.mark.parametrize('scope', layer_shares.SCOPES)
@pytest.mark.parametrize('sparsity', [0.5, 0.9, 0.98, 0.995])
def test_the_sparsity_is_met_to_the_weight(scope, sparsity):
  rng = np.random.default_rng(1)
  shapes = [(3, 3, 1, 8), (128, 10), (7, 11), (300,)]
  scores = [rng.random(shape) for shape in shapes]
  found = mask_selection.select(scores, _ones(*shapes), sparsity, scope)
  total = sum(math.prod(shape) for shape in shapes)
  assert sum(_zeros(found)) == round(sparsity * total)
  assert all(mask.any() for mask in found)


@pytest.mark.parametrize('scope', layer_shares.SCOPES)
@pytest.mark.parametrize('pace', round_sparsity.PACES)
def test_masks_of_rounds_are_nested_for_any_scores(scope, pace):
  rng = np.random.default_rng(2)
  shapes = [(5, 7), (13,), (3, 3, 2, 2), (31,)]
  found = _ones(*shapes)
  total = sum(math.prod(shape) for shape in shapes)
  for done in range(1, 21):
    sparsity = round_sparsity.sparsity_at_round(0.9, done, 20, pace)
    scores = [rng.random(shape) for shape in shapes]  # New ones each round.
    before, found = found, mask_selection.select(scores, found, sparsity, scope)
    assert sum(_zeros(found)) == round(sparsity * total)
    for old, new in zip(before, found):
      assert not np.any(new & ~old)


def test_global_ranks_layers_together_and_layer_apart():
  scores = [np.arange(1.0, 11.0), np.arange(101.0, 111.0)]
  assert _zeros(
    mask_selection.select(scores, _ones(10, 10), 0.4, 'global')
  ) == [8, 0]
  assert _zeros(mask_selection.select(scores, _ones(10, 10), 0.4, 'layer')) == [
    4,
    4,
  ]


def test_global_leaves_each_layer_its_largest_weight():
  scores = [np.arange(1.0, 11.0), np.arange(101.0, 111.0)]
  found = mask_selection.select(scores, _ones(10, 10), 0.7, 'global')
  assert _zeros(found) == [9, 5]
  assert found[0][-1]


def test_linear_time_selection_agrees_with_a_full_sort():
  rng = np.random.default_rng(3)
  scores = rng.integers(0, 50, size=1000).astype(float)  # Many ties.
  for count in (1, 17, 500, 999):
    (found,) = mask_selection.select(
      [scores], _ones(1000), count / 1000, 'layer'
    )
    expected = np.ones(1000, bool)
    expected[np.argsort(scores, kind='stable')[:count]] = False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('scope', layer_shares.SCOPES)
@pytest.mark.parametrize(
  'shapes', [[(40, 7), (13,), (3, 3, 2, 9), (1,)], [(40, 7)] * 5]
)
def test_a_selection_in_pieces_is_that_of_the_whole(scope, shapes, monkeypatch):
  monkeypatch.setattr(smallest_k, '_CORES', 3)
  rng = np.random.default_rng(3)
  # With ties, and weights of 0 that are not pruned.
  scores = [np.round(rng.random(shape), 1).astype('f4') for shape in shapes]
  ones = _ones(*shapes)
  found = []
  for piece in (1 << 20, 8):
    monkeypatch.setattr(smallest_k, '_PIECE', piece)
    first = mask_selection.select(scores, ones, 0.3, scope)
    found.append([*first, *mask_selection.select(scores, first, 0.6, scope)])
  for whole, pieces in zip(*found, strict=True):
    np.testing.assert_array_equal(whole, pieces)
  total = sum(map(math.prod, shapes))
  assert sum(_zeros(found[0][len(shapes) :])) == round_sparsity.zeros_at(
    0.6, total
  )


def test_a_sign_does_not_count():
  weights = np.random.default_rng(3).standard_normal((5, 100))
  one, other = (
    mask_selection.select([scores], _ones((5, 100)), 0.6, 'global')
    for scores in (weights, np.abs(weights))
  )
  np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('scope', layer_shares.SCOPES)
def test_a_selection_copies_no_weights(scope, monkeypatch):
  monkeypatch.setattr(smallest_k, '_PIECE', 1 << 12)
  monkeypatch.setattr(smallest_k, '_CORES', 3)
  rng = np.random.default_rng(3)
  weights = [rng.standard_normal((500, 200), np.float32) for _ in range(8)]
  before = mask_selection.select(weights, _ones(*[(500, 200)] * 8), 0.3, scope)
  tracemalloc.start()
  after = mask_selection.select(weights, before, 0.6, scope)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  new = sum(mask.nbytes for mask in after)
  assert new < peak < 2 * new < sum(weight.nbytes for weight in weights)


def test_erk_meets_its_formula():
  shapes = [(3, 3, 16, 32), (64, 128), (10, 10)]
  found = layer_shares.erk_sparsities(shapes, 0.9)
  sizes = [math.prod(shape) for shape in shapes]
  kept = [(1 - s) * n for s, n in zip(found, sizes)]
  assert sum(kept) == pytest.approx(0.1 * sum(sizes))
  # Below the cap, kept weights are proportional to the sum of the shape.
  below = [i for i, s in enumerate(found) if s > 0]
  ratios = {round(kept[i] / sum(shapes[i]), 6) for i in below}
  assert len(ratios) == 1


def test_erk_at_sparsity_zero_is_dense():
  assert layer_shares.erk_sparsities([(4, 4), (2, 3)], 0.0) == [0.0, 0.0]


def test_apportion_never_goes_below_what_is_pruned():
  assert layer_shares.apportion(10, [5.0, 5.0], [9, 0], [20, 20]) == [9, 1]
  assert layer_shares.apportion(100, [50.0, 50.0], [0, 0], [100, 3]) == [97, 3]


def test_random_scores_depend_on_seed_and_place_alone():
  first = mask_selection.random_scores([(4,), (4,)], seed=1)
  again = mask_selection.random_scores([(4,), (4,)], seed=1)
  other = mask_selection.random_scores([(4,), (4,)], seed=2)
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first[0], first[1])
  assert not np.array_equal(first[0], other[0])
  # A literal, because every process and platform shall draw the same ticket.
  np.testing.assert_array_equal(np.argsort(first[1]), [1, 2, 0, 3])


@pytest.mark.parametrize('pace', round_sparsity.PACES)
def test_rounds_needed_is_the_smallest_number(pace):
  for target in (0.5, 0.9, 0.98, 0.995):
    rounds = round_sparsity.rounds_needed(target, 0.2, pace)

    def largest_share(count, target=target):
      kept = [
        1 - round_sparsity.sparsity_at_round(target, r, count, pace)
        for r in range(count + 1)
      ]
      return max(1 - b / a for a, b in itertools.pairwise(kept))

    assert largest_share(rounds) <= 0.2 + 1e-9
    assert rounds == 1 or largest_share(rounds - 1) > 0.2


def test_geometric_rounds_meet_the_formula():
  assert round_sparsity.rounds_needed(0.9, 0.2, 'geometric') == math.ceil(
    math.log(0.1) / math.log(0.8)
  )
  assert round_sparsity.rounds_needed(1 - 0.8**2, 0.2, 'geometric') == 2
  assert round_sparsity.rounds_needed(0.0, 0.2, 'geometric') == 0


@pytest.mark.parametrize('pace', round_sparsity.PACES)
def test_the_last_round_is_the_target_exactly(pace):
  assert round_sparsity.sparsity_at_round(0.9, 7, 7, pace) == 0.9


@pytest.mark.parametrize('hidden', [0.0, 1e9])
def test_a_misleading_sample_does_not_mislead(hidden):
  rng = np.random.default_rng(4)
  scores = rng.random(200_001)
  stride = round(scores.size ** (1 / 3))
  scores[::stride] = hidden  # All that the sample will see.
  for count in (10, 100_000, 180_000):
    share = count / scores.size
    (found,) = mask_selection.select(
      [scores], _ones(scores.size), share, 'layer'
    )
    expected = np.ones(scores.size, bool)
    expected[np.argsort(scores, kind='stable')[:count]] = False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('sparsity', [1e-6, 0.2, 0.6, 0.9, 0.99, 0.999])
@pytest.mark.parametrize('fraction', [0.03, 0.1, 0.2, 0.5, 0.9, 0.999])
def test_cubic_rounds_are_the_fewest_that_do(sparsity, fraction):
  def largest(rounds):
    density = 1 - np.array(
      [
        round_sparsity.sparsity_at_round(sparsity, r, rounds, 'cubic')
        for r in range(rounds + 1)
      ]
    )
    return np.max(1 - density[1:] / density[:-1])

  rounds = round_sparsity.rounds_needed(sparsity, fraction, 'cubic')
  assert largest(rounds) <= fraction + 1e-9
  fewest = round_sparsity.rounds_needed(sparsity, fraction, 'geometric')
  assert rounds == fewest or largest(rounds - 1) > fraction + 1e-9


@pytest.mark.parametrize('pace', round_sparsity.PACES)
@pytest.mark.parametrize('fraction', [1e-9, 1e-300, 5e-324])
def test_a_tiny_fraction_takes_no_time(fraction, pace):
  assert round_sparsity.rounds_needed(0.9, fraction, pace) == 10**9
