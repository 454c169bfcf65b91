"""Ticket callbacks in `fit`: budgets, optimizers and second fits."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(target=0.5, optimizer=None, **arguments):
  keras.utils.set_random_seed(1)
  return toys.wrapped(toys.dense(), _schedule(target, **arguments), optimizer)


@functools.cache
def _finished():
  """Returns a model that has met its target; the tests may train it on."""
  model = _model(0.5)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=5)
  return model


# What a user sees.


def test_an_interrupt_says_that_the_target_was_not_met(capsys):
  class Interrupting(keras.layers.Layer):
    calls = 0

    def call(self, inputs, training=None):
      if training:
        Interrupting.calls += 1
        if Interrupting.calls > 20:
          raise KeyboardInterrupt
      return inputs

  model = keras.Sequential([toys.dense(), Interrupting()])
  for_pruning = tfmot.sparsity.keras.prune_low_magnitude(
    model.layers[0], _schedule(0.9)
  )
  model = keras.Sequential([for_pruning, Interrupting()])
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model, run_eagerly=True)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH())
  assert 'target was NOT met' in capsys.readouterr().out
  assert 'train_step' not in vars(model)  # The hook has left the model.


@pytest.mark.parametrize(
  'name',
  ['plateau_epoch', 'rewound_to_epoch', 'rounds', 'sparsity', 'reached_target'],
)
def test_before_fit_there_is_nothing_to_tell(name):
  with pytest.raises(RuntimeError, match='UniLTH has not been used in fit yet'):
    getattr(tf_unilth.UniLTH(), name)


# The budget.


@pytest.mark.parametrize('name', ['unilth', 'lth'])
def test_unknown_steps_are_counted_in_the_first_epoch(name):
  make = {'unilth': tf_unilth.UniLTH, 'lth': tf_unilth.LTH}[name]
  x, y = toys.data()

  def batches():
    for index in range(0, len(x), 8):
      yield x[index : index + 8], y[index : index + 8]

  signature = (tf.TensorSpec((8, 6, 6, 1)), tf.TensorSpec((8,), tf.int64))
  data = tf.data.Dataset.from_generator(batches, output_signature=signature)
  model = _model(0.9)
  model.fit(
    data,
    validation_data=(x, y),
    epochs=8,
    verbose=0,
    callbacks=[make(verbose=0)],
  )
  masks = toys.masks(model)
  assert toys.zeros(masks) == round(0.9 * toys.size(masks))


def test_dlth_asks_for_the_steps_of_an_epoch():
  x, y = toys.data()
  model = _model(0.9)
  with pytest.raises(ValueError, match='steps_per_epoch must be given'):
    model.fit(
      ((x[:8], y[:8]) for _ in range(100)),
      epochs=8,
      verbose=0,
      callbacks=[tf_unilth.DLTH(verbose=0)],
    )


# Learning rates and optimizers.


@pytest.mark.parametrize(
  'optimizer',
  [
    keras.optimizers.AdamW(0.01),
    keras.optimizers.legacy.Adam(0.01),
    keras.optimizers.SGD(tf_unilth.StagedLearningRate(0.05), 0.9, True),
    pytest.param(keras.optimizers.RMSprop(0.01), marks=pytest.mark.long),
    pytest.param(
      keras.optimizers.legacy.SGD(tf_unilth.StagedLearningRate(0.05), 0.9),
      marks=pytest.mark.long,
    ),
    pytest.param(
      keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 64)),
      marks=pytest.mark.long,
    ),
  ],
  ids=lambda o: f'{type(o).__module__.split(".")[-1]}',
)
def test_new_and_legacy_optimizers_rewind_and_reach_the_target(optimizer):
  model = _model(0.9, optimizer)
  spy = toys.Spy()
  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, toys.SetValLoss(3, 2, 2.5, 2.2), callback, spy, epochs=12)
  assert callback.reached_target and callback.rewound_to_epoch == 2
  for before, after in zip(spy.states[1], spy.states[3], strict=True):
    np.testing.assert_array_equal(before, after)


def test_a_plain_rate_works_with_reduce_lr_on_plateau():
  model = _model(0.9)
  reduce = keras.callbacks.ReduceLROnPlateau(patience=1)
  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, toys.SetValLoss(1.0), callback, reduce, epochs=10)
  assert callback.reached_target
  assert float(model.optimizer.learning_rate.numpy()) < 0.05


def test_validation_freq_delays_the_plateau_only():
  class EveryOther(toys.SetValLoss):
    def on_epoch_end(self, epoch, logs=None):
      if 'val_loss' in logs:
        super().on_epoch_end(epoch, logs)

  callback = tf_unilth.UniLTH(verbose=0, max_dense_fraction=0.6)
  val_loss = EveryOther(0, 3, 0, 2, 0, 2.5)  # Of epochs 2, 4 and 6.
  model = _model(0.9)
  toys.fit(
    model, val_loss, callback, epochs=20, validation_freq=2, initial_epoch=1
  )
  assert callback.reached_target
  assert (callback.plateau_epoch, callback.rewound_to_epoch) == (6, 4)


# A second fit, and pretrained weights.


def test_a_finished_model_fitted_again_keeps_its_mask(capsys):
  model = _finished()
  masks, weights = toys.masks(model), toys.kernels(model)
  history = toys.fit(model, tf_unilth.UniLTH(), epochs=4)
  assert 'was reached before: the masks stay fixed' in capsys.readouterr().out
  for before, after in zip(masks, toys.masks(model)):
    np.testing.assert_array_equal(before, after)
  for mask, weight in zip(masks, toys.kernels(model)):
    assert not weight[~mask].any()
  assert any(
    not np.array_equal(a, b) for a, b in zip(weights, toys.kernels(model))
  )
  assert set(history.history['l2_lambda']) == {0.0}


def test_a_finished_model_without_our_callback_keeps_its_mask():
  model = _finished()
  masks = toys.masks(model)
  toys.fit(model, tfmot.sparsity.keras.UpdatePruningStep(), epochs=2)
  for mask, after, weight in zip(masks, toys.masks(model), toys.kernels(model)):
    np.testing.assert_array_equal(mask, after)
    assert not weight[~mask].any()


def test_update_pruning_step_beside_ours_is_harmless():
  def train(*more):
    model = _model(0.9)
    toys.fit(model, tf_unilth.UniLTH(verbose=0), *more, shuffle=False)
    return toys.kernels(model)

  alone = train()
  both = train(tfmot.sparsity.keras.UpdatePruningStep())
  for before, after in zip(alone, both):
    np.testing.assert_array_equal(before, after)


# A schedule used twice, other formats, several replicas.


def test_a_schedule_used_for_a_second_model_starts_afresh():
  schedule = _schedule(0.5, rounds=2)
  first = toys.wrapped(toys.dense(), schedule)
  toys.fit(first, tf_unilth.LTH(verbose=0), epochs=4)
  second = toys.wrapped(toys.dense(), schedule)
  watch = toys.Spy()
  start = toys.kernels(second)
  toys.fit(second, tf_unilth.LTH(verbose=0), watch, epochs=4)
  masks = toys.masks(second)
  assert toys.zeros(masks) == round(0.5 * toys.size(masks))
  # Round 2 ended at step 21 of 32 with a rewind to the second's own start.
  rewound = watch.batches[20][1]
  for mask, before, after in zip(watch.batches[20][0], start, rewound):
    np.testing.assert_array_equal(np.where(mask, before, 0), after)
