"""structure: units by hand, against plain NumPy and tfmot, and in `fit`."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.sparsity.keras import (
  pruning_utils,
)

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot import kernel_axes, prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.selection import (
  blocks,
  layer_shares,
  mask_selection,
  pruning_units,
)
from tf_unilth.selection.blocks import Block
from tf_unilth.selection.m_by_n import MByN
from tf_unilth.selection.unit import Single

layers = keras.layers
wrap = tfmot.sparsity.keras.prune_low_magnitude


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


# Where the inputs lie.


def _axes(layer, *shapes):
  tensors = [layers.Input(shape) for shape in shapes]
  layer(*tensors)
  return [
    (tuple(weight.shape), kernel_axes.input_axis(layer, weight))
    for weight in prunable_weights.prunable_weights(layer)
  ]


@pytest.mark.parametrize(
  'make, shapes, expected',
  [
    (lambda: layers.Dense(5), [(4,)], [((4, 5), -2)]),
    (lambda: layers.Conv1D(5, 3), [(8, 4)], [((3, 4, 5), -2)]),
    (lambda: layers.Conv2D(5, 3), [(8, 8, 4)], [((3, 3, 4, 5), -2)]),
    (lambda: layers.SeparableConv2D(5, 3), [(8, 8, 4)], [((1, 1, 4, 5), -2)]),
    (lambda: layers.Conv1DTranspose(5, 3), [(8, 4)], [((3, 5, 4), -1)]),
    (lambda: layers.Conv2DTranspose(5, 3), [(8, 8, 4)], [((3, 3, 5, 4), -1)]),
    (
      lambda: layers.Conv3DTranspose(5, 3),
      [(8, 8, 8, 4)],
      [((3, 3, 3, 5, 4), -1)],
    ),
    (lambda: layers.GRU(5), [(8, 4)], [((4, 15), -2), ((5, 15), -2)]),
    (lambda: layers.EinsumDense('ab,cb->ac', 5), [(4,)], [((5, 4), -1)]),
    (lambda: layers.EinsumDense('ab,bc->ac', 5), [(4,)], [((4, 5), -2)]),
    (
      lambda: layers.EinsumDense('...x,xyz->...yz', (5, 6)),
      [(7, 4)],
      [((4, 5, 6), -3)],
    ),
    (
      lambda: layers.MultiHeadAttention(2, 3),
      [(7, 4), (7, 4)],
      [((4, 2, 3), -3)] * 3 + [((2, 3, 4), -2)],
    ),
  ],
)
def test_the_axis_of_the_inputs(make, shapes, expected):
  assert _axes(make(), *shapes) == expected


# In a fit.


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(schedule, *inner, **arguments):
  keras.utils.set_random_seed(1)
  inner = inner or [layers.Dense(16, activation='relu'), layers.Dense(2)]
  return toys.compiled_for_labels(
    keras.Sequential(
      [
        layers.Flatten(input_shape=(6, 6, 1)),
        *(wrap(layer, schedule, **arguments) for layer in inner),
      ]
    )
  )


class _Watch(keras.callbacks.Callback):
  """Records masks and candidates after every step."""

  def __init__(self):
    super().__init__()
    self.masks, self.candidates = [], []

  def on_train_batch_end(self, batch, logs=None):
    run = self.model.layers[-1].pruning_schedule.run
    self.masks.append(toys.masks(self.model))
    if run.state.ramp_limit:
      self.candidates.append([c.numpy() != 0 for c in run.ramp.candidates])


@pytest.mark.parametrize('eager', [False, True])
@pytest.mark.parametrize('where', ['alone', 'before', 'after'])
def test_the_mask_that_tfmot_makes_at_step_1_is_not_made(where, eager):
  model = _model(_schedule(rounds=2), sparsity_m_by_n=(2, 4))
  model.run_eagerly = eager
  callbacks = [tf_unilth.LTH(verbose=0)]
  if where == 'before':
    callbacks.insert(0, tfmot.sparsity.keras.UpdatePruningStep())
  if where == 'after':
    callbacks.append(tfmot.sparsity.keras.UpdatePruningStep())
  watch = _Watch()
  toys.fit(model, *callbacks, watch, epochs=3)
  cut = [toys.zeros(found) for found in watch.masks]
  first = 2 * round((1 - 0.5**0.5) / 0.5 * 152)
  # A training is a third of the steps.
  assert cut == [0] * 7 + [first] * 8 + [304] * 9


@pytest.mark.parametrize('target', [0.0, 0.5])
def test_nor_is_it_where_the_graph_was_made_before(target):
  model = _model(_schedule(target), sparsity_m_by_n=(2, 4))
  with pytest.raises(tf.errors.InvalidArgumentError):
    toys.fit(model)  # No callback.
  watch = _Watch()
  toys.fit(model, tf_unilth.LTH(verbose=0), watch)
  assert toys.zeros(watch.masks[0]) == 0


@pytest.mark.parametrize(
  'layer, arguments, zeros',
  [
    (lambda: layers.Conv1D(6, 3), {'sparsity_m_by_n': (2, 4)}, 36),
    (lambda: layers.Dense(1), {'block_size': (2, 1)}, 4),
    (lambda: layers.Dense(3), {'block_size': (2, 3)}, 12),
    (lambda: layers.Dense(6), {'block_size': (6, 1)}, 18),
  ],
)
def test_kernels_that_tfmot_itself_cannot_mask(layer, arguments, zeros):
  keras.utils.set_random_seed(1)
  model = keras.Sequential(
    [
      layers.Reshape((6, 6), input_shape=(6, 6, 1)),
      wrap(layer(), _schedule(), **arguments),
      layers.Flatten(),
      layers.Dense(2),
    ]
  )
  toys.fit(toys.compiled_for_labels(model), tf_unilth.UniDLTH(verbose=0))
  assert toys.zeros(toys.masks(model)) == zeros


@pytest.mark.parametrize(
  'arguments, sizes',
  [
    ({'sparsity_m_by_n': (2, 4)}, {0, 2}),
    ({'block_size': (4, 1)}, {0, 4}),
  ],
)
def test_the_ramp_takes_whole_units(arguments, sizes):
  model, watch = _model(_schedule(rounds=3), **arguments), _Watch()
  toys.fit(model, tf_unilth.UniDLTH(verbose=0), watch)
  assert watch.candidates
  for candidates in watch.candidates:
    assert any(chosen.any() for chosen in candidates)
    for chosen in candidates:
      per_unit = chosen.reshape(-1, 4, chosen.shape[1]).sum(axis=1)
      assert set(np.unique(per_unit)) <= sizes


def test_layers_with_schedules_of_their_own_may_differ(capsys):
  keras.utils.set_random_seed(1)
  blocks, groups = _schedule(0.75, rounds=2), _schedule(2 / 3, rounds=2)
  model = keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.Conv2D(6, 3),
      wrap(layers.Conv2DTranspose(5, 3), groups, sparsity_m_by_n=(2, 3)),
      layers.Flatten(),
      wrap(layers.Dense(8), blocks, block_size=(50, 3)),
      wrap(layers.Dense(2), _schedule(0.9, rounds=2)),
    ]
  )
  toys.compiled_for_labels(model)
  callback = tf_unilth.UniLTH()
  toys.fit(model, callback)
  transposed, tiled, single = toys.masks(model)
  assert transposed.shape == (3, 3, 5, 6) and tiled.shape == (180, 8)
  assert np.all(np.sum(~transposed.reshape(3, 3, 5, 2, 3), axis=-1) == 2)
  tiles = [
    tiled[i : i + 50, j : j + 3]
    for i, j in itertools.product(range(0, 180, 50), range(0, 8, 3))
  ]
  assert sorted({int(tile.sum()) for tile in tiles})[0] == 0
  assert sum(tile.all() for tile in tiles) == 3
  assert sum(not tile.any() for tile in tiles) == 9
  assert np.sum(~single) == round(0.9 * 16)
  zeros, total = toys.zeros([transposed, tiled, single]), 270 + 1440 + 16
  assert f'done: {zeros} of {total} weights are zero' in capsys.readouterr().out
  assert callback.reached_target
  assert callback.sparsity == zeros / total
  ticket = tfmot.sparsity.keras.strip_pruning(model)
  assert toys.zeros([np.array(w) for w in ticket.get_weights()]) >= zeros


def test_whether_the_target_is_reached_is_a_matter_of_blocks(capsys):
  # Two tiles of 32 rows and two of 4: 1 of 4 tiles may be 4 zeros or 32.
  model = _model(_schedule(1 / 3), layers.Dense(2), block_size=(32, 1))
  kernel = model.layers[1].layer.kernel
  kernel[32:, 0].assign(np.full(4, 1e-6))
  model.optimizer.learning_rate.assign(0.0)
  callback = tf_unilth.LTH(verbose=0)
  toys.fit(model, callback)
  (found,) = toys.masks(model)
  assert np.sum(~found) == 4 == np.sum(~found[32:, 0])
  assert callback.reached_target
  toys.fit(model, tf_unilth.LTH(), epochs=1)
  assert (
    '5.556% was reached before: the masks stay fixed' in capsys.readouterr().out
  )
  np.testing.assert_array_equal(toys.masks(model)[0], found)
  # More zeros, but of no whole tile.
  scattered = np.ones((36, 2), bool)
  scattered[:31] = False
  PrunedLayers(model).assign_masks([scattered])
  again = tf_unilth.LTH(verbose=0)
  toys.fit(model, again, epochs=4)
  assert again.reached_target and again.rounds == 1
  assert np.sum(~toys.masks(model)[0]) > np.sum(~scattered)


def test_a_layer_down_to_its_last_block_is_warned_of():
  model = _model(_schedule(0.9), block_size=(4, 1))
  with pytest.warns(UserWarning, match='its last block of 8: a lower'):
    toys.fit(model, tf_unilth.DLTH(verbose=0))


def test_a_layer_down_to_its_last_group_keeps_enough(recwarn):
  model = _model(_schedule(rounds=10), layers.Dense(2), sparsity_m_by_n=(2, 4))
  watch = _Watch()
  toys.fit(model, tf_unilth.DLTH(verbose=0), watch)
  assert {34, 36} < {toys.zeros(found) for found in watch.masks}
  assert not [w for w in recwarn if 'is down to' in str(w.message)]


def test_a_target_of_zero_leaves_groups_dense():
  model = _model(_schedule(0.0), sparsity_m_by_n=(2, 4))
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=2)
  assert toys.zeros(toys.masks(model)) == 0


def test_a_target_may_be_written_with_six_digits():
  model = _model(_schedule(0.333333), layers.Dense(30), sparsity_m_by_n=(1, 3))
  toys.fit(model, tf_unilth.LTH(verbose=0))
  (found,) = toys.masks(model)
  assert np.all(np.sum(~found.reshape(12, 3, 30), axis=1) == 1)


# What is refused.


def _error(match, model, callback=None):
  with pytest.raises(ValueError, match=match):
    toys.fit(model, callback or tf_unilth.UniLTH(verbose=0))


@pytest.mark.parametrize(
  'arguments, match',
  [
    (((0, 1), 'AVG', None), r'block_size must .* >= 1, but is \(0, 1\)'),
    (((2, 1), 'SUM', None), "block_pooling_type must be one of .*'SUM'"),
    (((1, 1), 'AVG', (4, 4)), r'1 <= m < n, but is \(4, 4\)'),
    (((1, 1), 'AVG', (0, 4)), r'1 <= m < n, but is \(0, 4\)'),
    (((1, 1), 'AVG', (2, 4), 0), 'axis must be negative, but is 0'),
  ],
)
def test_arguments_out_of_range_are_refused(arguments, match):
  with pytest.raises(ValueError, match=match):
    pruning_units.from_arguments(*arguments)


def test_a_target_that_groups_cannot_have_is_refused():
  model = _model(_schedule(0.9), sparsity_m_by_n=(2, 4))
  _error(r'MByN\(m=2, n=4.*must be 0.5 or 0, but is 0.9', model)


def test_a_target_that_leaves_a_layer_no_block_is_refused():
  model = _model(_schedule(0.5), layers.Dense(2), block_size=(36, 2))
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=1)  # round(0.5) is 0.
  model = _model(_schedule(0.9), layers.Dense(2), block_size=(36, 2))
  _error('0.9 asks for 1 zero among 1 block, .*must be at most 0', model)


def test_layers_that_share_a_schedule_must_share_a_structure():
  schedule = _schedule()
  model = keras.Sequential(
    [
      layers.Flatten(input_shape=(6, 6, 1)),
      wrap(layers.Dense(8, name='a'), schedule, block_size=(4, 1)),
      wrap(layers.Dense(2, name='b'), schedule),
    ]
  )
  toys.compiled_for_labels(model)
  _error("'a' has Block.*'b' has Single.*use a schedule for each", model)


def test_blocks_and_groups_at_once_are_refused():
  model = _model(_schedule(), block_size=(4, 1), sparsity_m_by_n=(2, 4))
  _error(r"of layer 'dense.* exclude .* \(4, 1\) and \(2, 4\)", model)


@pytest.mark.parametrize(
  'attribute, value, match',
  [
    ('sparsity_m_by_n', (2, 4), 'at least 4 weights along axis -2'),
    ('block_size', (2, 2), 'needs a matrix'),
  ],
)
def test_a_kernel_that_does_not_fit_is_refused(attribute, value, match):
  model = toys.wrapped(toys.conv(), _schedule())
  wrapper = model.layers[1]
  # tfmot itself refuses blocks for it when it is built.
  setattr(wrapper, attribute, value)
  name = wrapper.layer.name
  _error(rf"{match}.* layer '{name}' has shape \(3, 3, 1, 4\)", model)


@pytest.mark.parametrize(
  'value', [b'24', '24', (True, 4), (1, 10**30), 2, None]
)
def test_what_is_no_pair_of_numbers_is_named(value):
  with pytest.raises(ValueError, match='block_size must be two whole numbers'):
    pruning_units.from_arguments(value, 'AVG', None)
