"""Ticket callbacks beside other code: what died, and what writes weights."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys

SGD = keras.optimizers.SGD


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(target=0.5, optimizer=None, **arguments):
  keras.utils.set_random_seed(1)
  return toys.wrapped(toys.dense(), _schedule(target, **arguments), optimizer)


def _error(match, model, *callbacks, error=ValueError, **arguments):
  with pytest.raises(error, match=match):
    toys.fit(model, *callbacks, **arguments)


class _Die(keras.callbacks.Callback):
  def __init__(self, epoch):
    super().__init__()
    self._epoch = epoch

  def on_epoch_end(self, epoch, logs=None):
    if epoch == self._epoch:
      raise KeyboardInterrupt


def test_a_fit_that_died_in_another_callback_leaves_nothing_behind(capsys):
  model = _model(0.9, rounds=3)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH(), _Die(4))
  masks = toys.masks(model)
  # A fit without us: no penalty, and the mask is held by tfmot.
  update = tfmot.sparsity.keras.UpdatePruningStep()
  toys.fit(model, update, epochs=2)
  assert 'target was NOT met' in capsys.readouterr().out
  assert 'train_step' not in vars(model)
  assert 'apply_gradients' not in vars(model.optimizer)
  for before, after in zip(masks, toys.masks(model)):
    np.testing.assert_array_equal(before, after)


def test_a_fit_after_one_that_died_is_hooked_once():
  model = _model(0.9, rounds=3)
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), _Die(0))
  own = type(model.optimizer).apply_gradients
  inner = []

  class Count(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      hooked = self.model.optimizer.apply_gradients
      cells = [c.cell_contents for c in hooked.__closure__]
      inner.extend(getattr(c, '__func__', c) for c in cells if callable(c))

  callback = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, callback, Count())
  assert set(inner) == {own} and callback.reached_target
  assert 'train_step' not in vars(model)
  assert 'apply_gradients' not in vars(model.optimizer)


def test_a_model_that_was_fitted_before_is_hooked_too():
  # Keras keeps the train function of an earlier fit.
  model = _model(0.9, begin_step=10**6, rounds=3)
  toys.fit(model, tfmot.sparsity.keras.UpdatePruningStep(), epochs=1)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.LTH(verbose=0), spy)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
  assert toys.zeros(spy.batches[-1][0]) == 547


def test_others_that_write_weights_when_training_ends_are_undone(capsys):
  class Average(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
      self.model.set_weights(
        [weight + 1 for weight in self.model.get_weights()]
      )

  model = _model(0.9)
  toys.fit(model, tf_unilth.UniLTH(), Average())
  assert toys.zeros(toys.kernels(model)) == toys.zeros(toys.masks(model)) == 547
  assert 'the masks are restored' in capsys.readouterr().out


def test_wrapped_layers_without_kernels_may_have_schedules_of_their_own():
  wrap = tfmot.sparsity.keras.prune_low_magnitude
  model = keras.Sequential(
    [
      wrap(keras.layers.Flatten(input_shape=(6, 6, 1)), _schedule(0.3)),
      wrap(keras.layers.Dense(16), _schedule(0.9)),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.LTH(verbose=0))
  assert toys.zeros(toys.masks(model)) == round(0.9 * 36 * 16)


def test_a_train_step_that_ignores_losses_ramps_too():
  class Own(keras.Sequential):
    def train_step(self, data):
      x, y = data
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
          keras.losses.sparse_categorical_crossentropy(
            y, self(x, training=True), from_logits=True
          )
        )
      variables = self.trainable_variables
      gradients = tape.gradient(loss, variables)
      self.optimizer.apply_gradients(zip(gradients, variables))
      return {'loss': loss}

  wrap = tfmot.sparsity.keras.prune_low_magnitude
  model = Own(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      wrap(keras.layers.Dense(2), _schedule(0.9)),
    ]
  )
  spy = toys.Spy()
  ramp = tf_unilth.L2Ramp(limit=20.0)
  callback = tf_unilth.DLTH(ramp=ramp, finetune_fraction=0.5, verbose=0)
  toys.fit(toys.compiled_for_labels(model), callback, spy, epochs=4)
  mask = toys.masks(model)[0]
  # What goes is small before it goes: half of the steps prepare it.
  candidates = [weights[0][~mask] for _, weights in spy.batches]
  before = spy.batches[2 * toys.STEPS - 2]
  assert before[0][0].all() and not candidates[-1].any()
  first, last = (np.abs(candidates[i]).mean() for i in (0, 2 * toys.STEPS - 2))
  assert 0 < last < 0.5 * first


def test_the_same_callback_twice_is_refused():
  callback = tf_unilth.UniLTH()
  _error('one ticket callback', _model(), callback, callback)


def test_the_logs_reach_tensorboard(tmp_path):
  board = keras.callbacks.TensorBoard(str(tmp_path))
  toys.fit(_model(0.9), tf_unilth.UniLTH(verbose=0), board)
  tags = set()
  for file in tmp_path.rglob('events*'):
    for event in tf.compat.v1.train.summary_iterator(str(file)):
      tags |= {value.tag for value in event.summary.value}
  assert tags >= {
    'epoch_sparsity',
    'epoch_stage',
    'epoch_round',
    'epoch_l2_lambda',
  }


@pytest.mark.parametrize('optimizer', ['sgd', 'clipped', 'adam'])
def test_clipping_does_not_weaken_the_ramp(optimizer):
  made = {
    'sgd': SGD(0.02),
    'clipped': SGD(0.02, momentum=0.9, clipnorm=1e-6),
    'adam': keras.optimizers.Adam(0.02),
  }[optimizer]
  keras.utils.set_random_seed(1)
  model = tfmot.sparsity.keras.prune_low_magnitude(toys.dense(), _schedule(0.5))
  model.compile(made, lambda _, outputs: 0.0 * outputs)
  before = toys.kernels(model)

  class Last(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      if not toys.zeros(toys.masks(self.model)):
        self.kept = toys.kernels(self.model)

  last = Last()
  toys.fit(model, tf_unilth.DLTH(verbose=0), last, epochs=10)
  drawn = toys.masks(model)
  for mask, old, new in zip(drawn, before, last.kept):
    assert np.max(np.abs(new[~mask])) < 1e-3 * np.max(np.abs(old[~mask]))
    np.testing.assert_array_equal(old[mask], new[mask])


def test_evaluating_and_predicting_in_mid_run_changes_nothing():
  def train(*more):
    model = _model(0.9)
    toys.fit(model, tf_unilth.UniLTH(verbose=0), *more, shuffle=False)
    return model

  class Evaluate(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      self.model.evaluate(*toys.data(), verbose=0)
      self.model.predict(toys.data()[0], verbose=0)

  alone, watched = train(), train(Evaluate())
  assert toys.zeros(toys.masks(watched)) == 547
  for before, after in zip(toys.kernels(alone), toys.kernels(watched)):
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize('name', ['LTH', 'DLTH', 'UniLTH', 'UniDLTH'])
@pytest.mark.parametrize('verbose', [None, 3, 'auto', 1.5])
def test_verbose_is_0_1_or_2(name, verbose):
  with pytest.raises(ValueError, match='verbose must be one of'):
    getattr(tf_unilth, name)(verbose=verbose)
