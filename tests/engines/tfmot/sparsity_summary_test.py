"""sparsity_summary: what it counts, and how it looks."""

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.sparsity_summary import KernelSparsity

_TABLE = """\
layer           shape   weights  zeros  sparsity
------------------------------------------------
first           3 x 40      120     60   50.000%
lstm/kernel     40 x 8      320      0    0.000%
lstm/recurrent  2 x 8        16      0    0.000%
------------------------------------------------
total                       456     60   13.158%"""


def test_the_table():
  rows = tf_unilth.SparsitySummary(
    tuple(
      KernelSparsity(*row)
      for row in (
        ('first', (3, 40), 60),
        ('lstm/kernel', (40, 8), 0),
        ('lstm/recurrent', (2, 8), 0),
      )
    )
  )
  assert str(rows) == _TABLE


def test_it_counts_wrapped_kernels_and_no_biases():
  wrap = tfmot.sparsity.keras.prune_low_magnitude
  model = keras.Sequential(
    [
      wrap(
        keras.layers.Dense(4, input_shape=(6,)),
        tf_unilth.IterativeSparsity(0.5),
      ),
      keras.layers.Dense(3),
    ]
  )
  summary = tf_unilth.sparsity_summary(model)
  assert (summary.total_weights, summary.zeros) == (24, 0)
  stripped = tfmot.sparsity.keras.strip_pruning(model)
  assert tf_unilth.sparsity_summary(stripped).total_weights == 24 + 12


def test_several_kernels_of_a_layer_stand_apart():
  model = keras.Sequential([keras.layers.LSTM(2, input_shape=(5, 3))])
  names = [row.name for row in tf_unilth.sparsity_summary(model).rows]
  assert [name.split('/')[-1] for name in names] == [
    'kernel',
    'recurrent_kernel',
  ]


def test_it_agrees_before_and_after_stripping():
  model = toys.wrapped(toys.nested(), tf_unilth.IterativeSparsity(0.9))
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=4)
  before = tf_unilth.sparsity_summary(model)
  after = tf_unilth.sparsity_summary(tfmot.sparsity.keras.strip_pruning(model))
  assert before == after
  assert before.zeros == toys.zeros(toys.kernels(model)) > 0


def test_a_model_without_kernels_is_an_empty_table():
  model = keras.Sequential([keras.layers.Flatten(input_shape=(2, 2))])
  summary = tf_unilth.sparsity_summary(model)
  assert (summary.total_weights, summary.sparsity) == (0, 0.0)
  assert 'total' in str(summary)


def test_shared_layers_count_once():
  shared = keras.layers.Dense(3)
  inputs = keras.layers.Input((3,))
  model = keras.Model(inputs, shared(shared(inputs)))
  assert tf_unilth.sparsity_summary(model).total_weights == 9
  assert np.prod(tf_unilth.sparsity_summary(model).rows[0].shape) == 9
