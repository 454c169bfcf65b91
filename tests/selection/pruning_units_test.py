"""Pruning units: by hand, and against plain NumPy and tfmot."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras import (
  pruning_utils,
)

from tf_unilth.selection import (
  blocks,
  layer_shares,
  mask_selection,
)
from tf_unilth.selection.blocks import Block
from tf_unilth.selection.m_by_n import MByN
from tf_unilth.selection.unit import Single


def _cut(divided, weights, share, scope='global', found=None):
  """Cuts a share of the units by magnitude, as `Pruner` does."""
  found = found or [np.ones(weight.shape, bool) for weight in weights]
  scores = [np.abs(weight.astype(float)) for weight in weights]
  units = mask_selection.select(
    [divided.scores_to_units(s, m) for s, m in zip(scores, found)],
    [divided.mask_to_units(m) for m in found],
    share,
    scope,
    divided.min_units_kept,
  )
  return [divided.to_weights(u, s, m) for u, s, m in zip(units, scores, found)]


# By hand.


def test_the_block_with_the_smallest_mean_goes():
  weights = np.array(
    [
      [5, 5, -9, 0],
      [5, 5, 0, 0],
      [1, -1, 4, 4],
      [1, 1, 4, 4],
    ]
  )
  (found,) = _cut(Block(2, 2), [weights], 0.5)
  assert found.astype(int).tolist() == [
    [1, 1, 0, 0],
    [1, 1, 0, 0],
    [0, 0, 1, 1],
    [0, 0, 1, 1],
  ]


def test_the_block_with_the_smallest_maximum_goes():
  weights = np.array([[5, 5, -9, 0], [1, -1, 4, 4]])
  (found,) = _cut(Block(1, 2, 'MAX'), [weights], 0.5)
  assert found.astype(int).tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_blocks_at_the_edges_are_judged_by_what_they_have():
  weights = np.array(
    [
      [1, 1, 3],
      [1, 1, 3],
      [2, 2, 0],
      [2, 2, 4],
      [5, 6, 1.5],
    ]
  )
  block = Block(2, 2)
  ones = np.ones(weights.shape, bool)
  assert block.scores_to_units(weights, ones).tolist() == [
    [1, 3],
    [2, 2],
    [5.5, 1.5],
  ]
  (found,) = _cut(block, [weights], 2 / 6)
  assert found.astype(int).tolist() == [
    [0, 0, 1],
    [0, 0, 1],
    [1, 1, 1],
    [1, 1, 1],
    [1, 1, 0],
  ]


def test_two_of_four_inputs_go_for_each_output():
  weights = np.array([[4, 1], [-3, 2], [1, -3], [2, 4], [9, 9], [8, 0], [7, 7]])
  (found,) = _cut(MByN(2, 4), [weights[:4]], 1.0)
  assert found.astype(int).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
  # Of the three at the end one, as if a zero followed.
  (found,) = _cut(MByN(2, 4), [weights], 1.0)
  assert found[4:].astype(int).tolist() == [[1, 1], [1, 0], [0, 1]]
  # Two at the end are two of four already, and no unit.
  (found,) = _cut(MByN(2, 4), [weights[:6]], 1.0)
  assert found[4:].all()
  assert MByN(2, 4).mask_to_units(found).shape == (2, 1)


def test_groups_go_by_the_mean_of_what_they_would_lose():
  # Means 1.5, 1 and 2; the largest weights do not matter.
  weights = np.array([[1, 9, 2, 99], [99, 1, 1, 99], [2, 2, 3, 3]])
  for cut, rows in ((1, [1]), (2, [0, 1]), (3, [0, 1, 2])):
    (found,) = _cut(MByN(2, 4, axis=-1), [weights], cut / 3)
    assert (np.sum(~found, axis=1) == 2).tolist() == [
      row in rows for row in range(3)
    ]
  assert found.astype(int).tolist() == [
    [0, 1, 0, 1],
    [1, 0, 0, 1],
    [0, 0, 1, 1],
  ]


def test_a_shorter_group_is_judged_by_what_it_would_lose():
  weights = np.array([[4, 5, 9, 9, 5, 8, 8]])  # 4 and 5; then only 5.
  scores, ones = weights.astype(float), np.ones((1, 7), bool)
  assert MByN(2, 4, axis=-1).scores_to_units(scores, ones).tolist() == [
    [4.5, 5]
  ]


def test_the_last_round_cuts_all_groups_of_a_rounded_target():
  assert MByN(1, 3).unit_sparsity(0.333333, 0.333333) == 1
  assert MByN(1, 3).unit_sparsity(0.1, 0.4) == 0.25
  assert MByN(1, 3).unit_sparsity(0.0, 0.0) == 0


def test_ties_in_a_group_go_by_index():
  (found,) = _cut(MByN(1, 3, axis=-1), [np.ones((1, 6))], 1.0)
  assert found.astype(int).tolist() == [[0, 1, 1, 0, 1, 1]]


def test_what_is_pruned_already_counts_towards_a_group():
  weights = np.array([[0, 0, 9, 9], [1, 1, 9, 9], [5, 6, 7, 8.0]])
  before = np.array([[1, 1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
  two = MByN(2, 4, axis=-1)
  assert two.mask_to_units(before).ravel().tolist() == [True, False, True]
  (found,) = _cut(two, [weights], 1.0, found=[before])
  # The first loses one more, the second had lost more and stays.
  assert found.astype(int).tolist() == [
    [0, 1, 1, 0],
    [0, 0, 0, 1],
    [0, 0, 1, 1],
  ]


def test_a_block_that_lost_some_weights_is_not_cut_and_loses_no_more():
  before = np.array([[0, 1, 1, 1]], bool)
  weights = np.array([[0, 9, 1, 1]])
  block = Block(1, 2)
  assert block.mask_to_units(before).tolist() == [[True, True]]
  (found,) = _cut(block, [weights], 0.5, found=[before])
  assert found.astype(int).tolist() == [[0, 1, 0, 0]]


def test_a_layer_keeps_a_block_but_may_lose_all_groups():
  weights = [np.full((8, 2), 1.0), np.full((8, 2), 100.0)]
  blocks = _cut(Block(4, 1), weights, 0.5)
  assert [int(np.sum(~mask)) for mask in blocks] == [12, 4]
  groups = _cut(MByN(2, 4), weights, 0.5)
  assert [int(np.sum(~mask)) for mask in groups] == [8, 0]


# Properties.

STRUCTURES = {
  'block': (Block(2, 2), [(8, 6), (4, 4)]),
  'ragged': (Block(4, 3, 'MAX'), [(9, 7), (5, 2), (1, 8)]),
  'two_of_four': (MByN(2, 4), [(8, 5), (3, 3, 4, 6), (7, 3), (6, 2)]),
  'one_of_three': (MByN(1, 3, axis=-1), [(5, 9), (2, 2, 3, 8)]),
}
every_structure = pytest.mark.parametrize(
  'divided, shapes', STRUCTURES.values(), ids=STRUCTURES
)


@every_structure
@pytest.mark.parametrize('scope', layer_shares.SCOPES)
def test_rounds_are_nested_and_exact_with_new_scores(divided, shapes, scope):
  rng = np.random.default_rng(1)
  found = [np.ones(shape, bool) for shape in shapes]
  total = sum(divided.mask_to_units(mask).size for mask in found)
  last = 1.0 if isinstance(divided, MByN) else 0.8
  for share in (0.1, 0.35, 0.6, last):
    weights = [rng.normal(size=shape) for shape in shapes]
    before, found = found, _cut(divided, weights, share, scope, found)
    units = [divided.mask_to_units(mask) for mask in found]
    assert sum(int(np.sum(~u)) for u in units) == round(share * total)
    for old, new, kept in zip(before, found, units):
      assert not np.any(new & ~old)
      # Whole units: one that is kept has lost nothing.
      ones = np.ones(new.shape, bool)
      whole = divided.to_weights(kept, np.zeros(new.shape), ones)
      assert np.sum(whole) == np.sum(new)
  if isinstance(divided, MByN):
    assert [int(np.sum(~mask)) for mask in found] == [
      divided.most_zeros(shape) for shape in shapes
    ]


@pytest.mark.parametrize('shape', [(16, 5), (3, 3, 8, 6), (7, 4), (3, 3, 9, 2)])
@pytest.mark.parametrize('m, n', [(2, 4), (1, 4), (3, 4), (1, 2), (4, 8)])
def test_the_last_round_is_the_mask_that_tfmot_makes(shape, m, n):
  weights = np.random.default_rng(2).normal(size=shape).astype(np.float32)
  (found,) = _cut(MByN(m, n), [weights], 1.0)
  rows = np.moveaxis(found, -2, -1).reshape(-1, shape[-2])
  for row in rows:
    for begin in range(0, shape[-2] - n + 1, n):
      assert np.sum(~row[begin : begin + n]) == m
  tensor = tf.constant(weights)
  expected = pruning_utils.m_by_n_sparsity_mask_prepare(
    pruning_utils.generate_m_by_n_mask(
      pruning_utils.weights_rearrange(tensor), (m, n)
    ),
    tensor.shape,
  )
  np.testing.assert_array_equal(found, expected.numpy().astype(bool))
  # Also where groups at the end are shorter.
  assert pruning_utils.is_pruned_m_by_n(tf.constant(weights * found), (m, n))


@pytest.mark.parametrize('pooling', blocks.POOLINGS)
def test_whole_blocks_are_pooled_as_tfmot_pools(pooling):
  weights = np.random.default_rng(3).random((8, 6)).astype(np.float32)
  block, ones = Block(4, 2, pooling), np.ones((8, 6), bool)
  expected = pruning_utils.factorized_pool(
    tf.constant(weights), [4, 2], pooling, [4, 2], 'SAME'
  )
  np.testing.assert_allclose(block.scores_to_units(weights, ones), expected)


@pytest.mark.parametrize('pooling', blocks.POOLINGS)
def test_a_random_number_per_block_comes_back_from_pooling(pooling):
  block, shape = Block(3, 5, pooling), (10, 12)
  (drawn,) = mask_selection.random_scores([block.draw_shape(shape)], seed=1)
  assert drawn.shape == (4, 3)
  scores = block.broadcast_scores(drawn, shape)
  assert scores.shape == shape
  assert len(np.unique(scores)) == 12
  ones = np.ones(shape, bool)
  np.testing.assert_array_equal(block.scores_to_units(scores, ones), drawn)


def test_there_are_as_many_random_numbers_as_blocks():
  assert Block(2, 3).draw_shape((4, 6)) == (2, 2)
  assert Block(2, 3).draw_shape((5, 7)) == (3, 3)


def test_single_weights_pass_unchanged():
  scores, mask = np.random.rand(3, 4), np.random.rand(3, 4) > 0.5
  assert Single().scores_to_units(scores, mask) is scores
  assert Single().mask_to_units(mask) is mask
  assert Single().draw_shape((3, 4)) == (3, 4)
  assert Single().broadcast_scores(scores, (3, 4)) is scores


@pytest.mark.parametrize(
  'divided, shape, fits',
  [
    (Single(), (3,), True),
    (Block(2, 2), (3, 3, 4, 4), False),
    (Block(2, 2), (1, 5), True),
    (Block(2, 2), (4,), False),
    (MByN(2, 4), (4, 1), True),
    (MByN(2, 4), (3, 8), False),
    (MByN(2, 4), (3, 3, 1, 8), False),
    (MByN(2, 4), (8,), False),
    (MByN(2, 4, axis=-1), (8,), False),
    (MByN(2, 4, axis=-1), (3, 8), True),
    (MByN(2, 4, axis=-3), (8, 8), False),
  ],
)
def test_which_shapes_fit(divided, shape, fits):
  assert divided.fits(shape) is fits


def test_the_axis_does_not_make_structures_differ():
  assert MByN(2, 4, axis=-1) == MByN(2, 4) != MByN(1, 4)
