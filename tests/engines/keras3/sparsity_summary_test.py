"""sparsity_summary on Keras 3: the same table as on tf_keras."""

import re

import keras
import numpy as np
import pytest
import tf_keras

import tf_unilth
from tests.testing import keras_3_toys, toys
from tf_unilth.engines.keras3 import pruning_plan

pytestmark = pytest.mark.keras3
layers = keras.layers


def _schedule(target=0.5):
  return tf_unilth.IterativeSparsity(target)


def _mixed(package):
  """A model with pruned and dense layers of several kinds."""
  package.backend.clear_session()
  k = package.layers
  kernel = np.zeros((3, 3, 2, 4), np.float32)
  kernel[0] = 1
  return package.Sequential(
    [
      k.Input((5, 5, 2)),
      k.Rescaling(0.5),
      k.Conv2D(
        4,
        3,
        kernel_initializer=package.initializers.Constant(kernel),
        name='conv',
      ),
      k.BatchNormalization(),
      k.ReLU(),
      k.ReLU(),
      package.Sequential([k.Dense(6, name='inner')], name='block'),
      k.TimeDistributed(k.LSTM(2, name='rnn'), name='each'),
      k.Flatten(),
      k.Dense(2, name='head'),
    ]
  )


def test_the_table_equals_that_of_tf_keras():
  tables = [
    str(tf_unilth.sparsity_summary(_mixed(k))) for k in (tf_keras, keras)
  ]
  assert tables[0] == tables[1]
  rows = [re.split('  +', line) for line in tables[1].splitlines()]
  assert rows[2] == ['conv', '3 x 3 x 2 x 4', '72', '48', '66.667%']
  assert [row[0] for row in rows[3:6]] == [
    'inner',
    'each/kernel',
    'each/recurrent_kernel',
  ]


def test_the_list_of_dense_layers_equals_that_of_tf_keras():
  found = []
  for package in (tf_keras, keras):
    model = tf_unilth.prune_low_magnitude(
      _mixed(package), _schedule(), skip=['head', 'block']
    )
    summary = tf_unilth.sparsity_summary(model)
    assert [row.name.split('/')[0] for row in summary.rows] == [
      'conv',
      'each',
      'each',
    ]
    found.append(summary.left)
  assert found[0] == found[1]
  assert found[1][:2] == ('inner (Dense)', 'head (Dense)')
  assert {'BatchNormalization', 'ReLU x 2'} <= set(found[1])


def test_dense_matrices_are_listed_by_name():
  model = keras.Sequential(
    [
      layers.Input((4, 3)),
      layers.PReLU(name='act'),
      layers.Flatten(),
      layers.Dense(2),
    ]
  )
  with pytest.warns(UserWarning, match="'act' stays dense"):
    tf_unilth.prune_low_magnitude(model, _schedule())
  left = tf_unilth.sparsity_summary(model).left
  assert left == ('act (PReLU)', 'Flatten')
  assert not tf_unilth.sparsity_summary(tf_unilth.strip_pruning(model)).left


def test_it_counts_masked_weights_whatever_wrote_them():
  model = tf_unilth.prune_low_magnitude(keras_3_toys.dense(), _schedule())
  plan = pruning_plan.planned(model)
  masks = [np.ones(kernel.shape, bool) for kernel in plan.kernels]
  masks[1][:4] = False
  plan.set_masks(masks)
  assert [r.zeros for r in tf_unilth.sparsity_summary(model).rows] == [0, 8]
  plan.kernels[1].variable.assign(np.ones((16, 2)))
  assert [r.zeros for r in tf_unilth.sparsity_summary(model).rows] == [0, 8]
  stripped = tf_unilth.strip_pruning(model)
  assert [r.zeros for r in tf_unilth.sparsity_summary(stripped).rows] == [0, 8]


def test_it_reads_a_model_that_trains():
  class Spy(keras.callbacks.Callback):
    def __init__(self):
      super().__init__()
      self.found = []

    def on_train_batch_end(self, batch, logs=None):
      self.found.append(tf_unilth.sparsity_summary(self.model).zeros)

  model, spy = keras_3_toys.planned(keras_3_toys.dense(), _schedule()), Spy()
  x, y = toys.data()
  model.fit(
    *(x, y, 8), epochs=4, verbose=0, callbacks=[tf_unilth.DLTH(verbose=0), spy]
  )
  assert spy.found == sorted(spy.found)
  assert spy.found[-1] == (36 * 16 + 16 * 2) / 2
  before = tf_unilth.sparsity_summary(model)
  after = tf_unilth.sparsity_summary(tf_unilth.strip_pruning(model))
  assert before.rows == after.rows


def test_a_model_without_kernels_is_an_empty_table():
  model = keras.Sequential([layers.Input((2, 2)), layers.Flatten()])
  summary = tf_unilth.sparsity_summary(model)
  assert (summary.total_weights, summary.sparsity) == (0, 0.0)
  assert 'total' in str(summary)


def test_shared_layers_count_once():
  shared = layers.Dense(3, name='shared')
  inputs = layers.Input((3,))
  model = keras.Model(inputs, shared(shared(inputs)))
  assert tf_unilth.sparsity_summary(model).total_weights == 9


@pytest.mark.parametrize('mode', ['int8', 'int4'])
def test_quantized_kernels_keep_their_zeros_and_shapes(mode):
  model = keras.Sequential([layers.Input((8,)), layers.Dense(5, name='dense')])
  kernel = np.random.default_rng(0).uniform(0.5, 1, (8, 5))
  kernel[::2] = 0
  model.layers[0].kernel.assign(kernel)
  model.layers[0].quantize(mode)
  (row,) = tf_unilth.sparsity_summary(model).rows
  assert row.shape == (8, 5)
  if mode == 'int8':  # Keras's int4 has a zero point, which need not be 0.
    assert row.zeros == 20


def test_lora_matrices_count_as_part_of_their_kernel():
  model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
  model.layers[0].kernel.assign(np.zeros((4, 3)))
  model.layers[0].enable_lora(2)
  assert tf_unilth.sparsity_summary(model).zeros == 12
  model.layers[0].lora_kernel_b.assign(np.ones((2, 3)))
  assert tf_unilth.sparsity_summary(model).zeros == 0


def test_half_precision_is_counted():
  model = keras.Sequential(
    [layers.Input((4,)), layers.Dense(3, dtype='bfloat16')]
  )
  kernel = np.ones((4, 3), np.float32)
  kernel[0] = 0
  model.layers[0].kernel.assign(kernel)
  assert tf_unilth.sparsity_summary(model).zeros == 3
