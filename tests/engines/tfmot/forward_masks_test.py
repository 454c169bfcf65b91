"""When forward passes apply the masks, and when they need not."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import optimization
from tests.testing import toys
from tf_unilth.engines.tfmot import keras_access
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


@pytest.fixture
def traced(monkeypatch):
  """Counts how often masks are put into a forward pass."""
  calls = []
  original = keras_access.Pruning.weight_mask_op

  def weight_mask_op(self):
    calls.append(self)
    return original(self)

  monkeypatch.setattr(keras_access.Pruning, 'weight_mask_op', weight_mask_op)
  return calls


def _ticket() -> keras.Model:
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  return toys.compiled_for_labels(model)


def _fitted() -> keras.Model:
  model = _ticket()
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  return model


def _masked(model: keras.Model) -> np.ndarray:
  """Returns what the model computes with its masks, whoever holds them."""
  ticket = toys.dense()
  arrays = iter(w.numpy() for w in PrunedLayers(model).model_weights)
  ticket.set_weights(list(arrays))
  for layer, mask in zip(ticket.layers[1:], toys.masks(model)):
    layer.kernel.assign(layer.kernel * mask)
  return ticket.predict(toys.data()[0], verbose=0)


def test_forward_passes_of_a_ticket_fit_do_not_mask(traced):
  model = _ticket()
  traced.clear()
  predicted = []

  def predict(epoch, logs):
    result = model.predict(toys.data()[0], verbose=0)
    predicted.append((result, _masked(model)))

  callback = keras.callbacks.LambdaCallback(on_epoch_end=predict)
  toys.fit(model, tf_unilth.LTH(verbose=0), callback, epochs=3)
  assert not traced
  for result, expected in predicted:
    np.testing.assert_array_equal(result, expected)


def test_tfmots_wrapper_does_not_mask_in_a_ticket_fit_either(traced):
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1))
  traced.clear()
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  assert not traced
  model(toys.data()[0])  # Others may call it at any time.
  assert traced


@pytest.mark.parametrize('train', ['fit', 'train_on_batch', 'loop'])
def test_training_without_a_ticket_callback_masks_again(train):
  model = _fitted()
  x, y = toys.data()
  model.evaluate(x, y, verbose=0)  # Traced without masks.
  if train == 'fit':
    model.fit(x, y, verbose=0)
  elif train == 'train_on_batch':
    model.train_on_batch(x, y)
  else:
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(model(x, training=True))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    model.optimizer.apply_gradients(zip(gradients, variables))
  kernel, mask = toys.kernels(model)[0], toys.masks(model)[0]
  assert kernel[~mask].any()  # As tfmot leaves them between steps.
  expected = _masked(model)
  np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_weights_that_were_not_zero_are_when_a_fit_begins():
  model = _fitted()
  toys.fit(model, epochs=1)  # Leaves pruned weights that are not zero.
  spy = toys.Spy()
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=1)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()


def test_a_fit_that_died_leaves_no_weights_unmasked():
  class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      raise KeyboardInterrupt

  model = _ticket()
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.LTH(verbose=0), Die())
  model.make_train_function()  # As the next fit does.
  _densify(model)
  x = toys.data()[0]
  np.testing.assert_allclose(model(x), _masked(model), 1e-5, 1e-5)


def _densify(model: keras.Model) -> None:
  for kernel in PrunedLayers(model).kernels:
    kernel.weight.assign_add(tf.ones_like(kernel.weight))


def test_evaluations_after_a_fit_mask_once(traced):
  model = _fitted()
  traced.clear()
  x, y = toys.data()
  for _ in range(2):
    _densify(model)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, _masked(model))
    _densify(model)
    loss, _ = model.evaluate(x, y, verbose=0)
    expected = keras.losses.sparse_categorical_crossentropy(
      y, _masked(model), from_logits=True
    )
    np.testing.assert_allclose(loss, np.mean(expected), 1e-5)
  assert not traced
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  assert model.test_step.__closure__
  assert model.test_step.__name__ == 'unmasked_step'
  inner = [c.cell_contents for c in model.test_step.__closure__]
  assert 'unmasked_step' not in [getattr(i, '__name__', '') for i in inner]


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.0])
def test_an_evaluation_sets_to_zero_whatever_is_masked(value):
  model = _fitted()
  expected = _masked(model)
  for kernel in PrunedLayers(model).kernels:
    pruned = kernel.mask.numpy() == 0
    assert pruned.any()
    kernel.weight.assign(np.where(pruned, value, kernel.weight.numpy()))
  predicted = model.predict(toys.data()[0], verbose=0)
  np.testing.assert_array_equal(predicted, expected)
  for kernel in PrunedLayers(model).kernels:
    zeros = kernel.weight.numpy()[kernel.mask.numpy() == 0]
    assert not np.any(zeros) and not np.any(np.signbit(zeros))


def test_what_others_traced_in_a_ticket_fit_masks():
  model = _ticket()
  x = tf.constant(toys.data()[0])
  other = keras.Model(model.inputs, model.outputs)
  mine = tf.function(lambda x: model(x, training=False))

  def trace(epoch, logs):
    other.predict(x, verbose=0)
    mine(x)

  callback = keras.callbacks.LambdaCallback(on_epoch_end=trace)
  toys.fit(model, tf_unilth.LTH(verbose=0), callback, epochs=3)
  for predict in (lambda: other.predict(x, verbose=0), lambda: mine(x)):
    _densify(model)
    np.testing.assert_allclose(predict(), _masked(model), 1e-5, 1e-5)


def test_weights_that_a_callback_writes_are_masked_in_the_next_epoch():
  model = _ticket()
  spy = toys.Spy()
  write = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: _densify(model)
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, write, epochs=3)
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()


class _KeptStep(keras.Sequential):
  """A model whose steps are a function of the user's own."""

  @tf.function
  def train_step(self, data):
    return super().train_step(data)


@pytest.mark.parametrize('run_eagerly', [False, True])
def test_a_ramp_works_in_a_train_step_that_is_a_function(run_eagerly):
  sums = []
  for kind in (keras.Sequential, _KeptStep):
    keras.utils.set_random_seed(0)
    model = kind(
      [
        keras.layers.Flatten(input_shape=(6, 6, 1)),
        tf_unilth.prune_low_magnitude(
          keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=2)
        ),
      ]
    )
    optimizer = keras.optimizers.SGD(0.1)
    toys.compiled_for_labels(model, optimizer, run_eagerly=run_eagerly)
    spy = toys.Spy()
    ramp = tf_unilth.L2Ramp(limit=2.0)
    toys.fit(
      model,
      tf_unilth.UniLTH(ramp=ramp, verbose=0),
      spy,
      epochs=6,
      shuffle=False,
    )
    sums.append([np.abs(weights[0]).sum() for _, weights in spy.batches])
  np.testing.assert_allclose(*sums, rtol=1e-5)


def test_a_train_step_that_is_a_function_holds_what_its_ramp_did_not_know():
  model = _KeptStep(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=1)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.DLTH(verbose=0), spy, epochs=4)
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()


class _Compiled(keras.Sequential):
  """A model whose forward pass is a function of the user's own."""

  @tf.function
  def forward(self, x, training):
    return super().call(x, training=optimization)

  def call(self, x, training=False):
    return self.forward(x, bool(optimization))


def test_a_function_inside_of_the_model_masks_when_others_train_it():
  model = _Compiled(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=1)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  toys.fit(model, epochs=1, validation_data=None)
  x = toys.data()[0]
  wrapper = PrunedLayers(model).wrappers[0]
  assert wrapper.layer.kernel.numpy()[wrapper.pruning_vars[0][1] == 0].any()
  predicted = model.predict(x, batch_size=8, verbose=0)  # Traced before.
  kernel, mask, _ = wrapper.pruning_vars[0]
  expected = x.reshape(len(x), -1) @ (kernel * mask) + wrapper.layer.bias
  np.testing.assert_allclose(predicted, expected, 1e-5, 1e-5)
