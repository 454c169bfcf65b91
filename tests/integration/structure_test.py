"""Blocks and M:N in `fit`: which units go, and what is refused."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.selection import (
  pruning_units,
)

layers = keras.layers
wrap = tfmot.sparsity.keras.prune_low_magnitude
# For callbacks that monitor nothing.
_train = functools.partial(toys.fit, validation_data=None)


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


@pytest.mark.parametrize(
  'where, eager', [('alone', False), ('before', False), ('after', True)]
)
def test_the_mask_that_tfmot_makes_at_step_1_is_not_made(where, eager):
  model = _model(_schedule(rounds=2), sparsity_m_by_n=(2, 4))
  model.run_eagerly = eager
  callbacks = [tf_unilth.LTH(verbose=0)]
  if where == 'before':
    callbacks.insert(0, tfmot.sparsity.keras.UpdatePruningStep())
  if where == 'after':
    callbacks.append(tfmot.sparsity.keras.UpdatePruningStep())
  watch = _Watch()
  _train(model, *callbacks, watch, epochs=3)
  cut = [toys.zeros(found) for found in watch.masks]
  first = 2 * round((1 - 0.5**0.5) / 0.5 * 152)
  # A training is a third of the steps.
  assert cut == [0] * 7 + [first] * 8 + [304] * 9


@pytest.mark.parametrize('target', [0.0, 0.5])
def test_nor_is_it_where_the_graph_was_made_before(target):
  model = _model(_schedule(target), sparsity_m_by_n=(2, 4))
  with pytest.raises(tf.errors.InvalidArgumentError):
    _train(model)  # No callback.
  watch = _Watch()
  _train(model, tf_unilth.LTH(verbose=0), watch, epochs=4)
  assert toys.zeros(watch.masks[0]) == 0
  assert toys.zeros(watch.masks[-1]) == 2 * target * 304


def test_kernels_that_tfmot_itself_cannot_mask():
  keras.utils.set_random_seed(1)
  inputs = layers.Input((6, 6, 1))
  rows = layers.Reshape((6, 6))(inputs)
  found = [
    wrap(layer, _schedule(), **arguments)
    for layer, arguments in (
      (layers.Conv1D(6, 3), {'sparsity_m_by_n': (2, 4)}),
      (layers.Dense(1), {'block_size': (2, 1)}),
      (layers.Dense(3), {'block_size': (2, 3)}),
      (layers.Dense(6), {'block_size': (6, 1)}),
    )
  ]
  flat = [layers.Flatten()(wrapper(rows)) for wrapper in found]
  outputs = layers.Dense(2)(layers.Concatenate()(flat))
  model = toys.compiled_for_labels(keras.Model(inputs, outputs))
  toys.fit(model, tf_unilth.UniDLTH(verbose=0))
  zeros = [toys.zeros([w.pruning_vars[0][1].numpy()]) for w in found]
  assert zeros == [36, 4, 12, 18]


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
  assert (
    f'done: {zeros:,} of {total:,} weights are zero' in capsys.readouterr().out
  )
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
  _train(model, callback)
  (found,) = toys.masks(model)
  assert np.sum(~found) == 4 == np.sum(~found[32:, 0])
  assert callback.reached_target
  _train(model, tf_unilth.LTH(), epochs=1)
  assert (
    '5.556% was reached before: the masks stay fixed' in capsys.readouterr().out
  )
  np.testing.assert_array_equal(toys.masks(model)[0], found)
  # More zeros, but of no whole tile.
  scattered = np.ones((36, 2), bool)
  scattered[:31] = False
  PrunedLayers(model).assign_masks([scattered])
  again = tf_unilth.LTH(verbose=0)
  _train(model, again, epochs=4)
  assert again.reached_target and again.rounds == 1
  assert np.sum(~toys.masks(model)[0]) > np.sum(~scattered)


def test_a_layer_down_to_its_last_block_is_warned_of():
  model = _model(_schedule(0.9), block_size=(4, 1))
  with pytest.warns(UserWarning, match='its last block of 8: a lower'):
    _train(model, tf_unilth.DLTH(verbose=0))


def test_a_layer_down_to_its_last_group_keeps_enough(recwarn):
  model = _model(_schedule(rounds=10), layers.Dense(2), sparsity_m_by_n=(2, 4))
  watch = _Watch()
  _train(model, tf_unilth.DLTH(verbose=0), watch)
  assert {34, 36} < {toys.zeros(found) for found in watch.masks}
  assert not [w for w in recwarn if 'is down to' in str(w.message)]


def test_a_target_may_be_written_with_six_digits():
  model = _model(_schedule(0.333333), layers.Dense(30), sparsity_m_by_n=(1, 3))
  _train(model, tf_unilth.LTH(verbose=0))
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
  _train(model, tf_unilth.LTH(verbose=0), epochs=1)  # round(0.5) is 0.
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
