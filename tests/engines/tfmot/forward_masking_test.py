"""Steps that move weights between forward passes see masks in each of them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot import forward_masking


class _Probe(keras.layers.Dense):
  """Counts, in each pass, weights that are alive though they are pruned."""

  def build(self, shape):
    super().build(shape)
    make = {'trainable': False, 'initializer': 'zeros'}
    self.alive = self.add_weight('alive', shape=(), dtype=tf.int64, **make)
    self.pruned = self.add_weight('pruned', shape=self.kernel.shape, **make)

  def call(self, inputs):
    alive = tf.math.count_nonzero(self.kernel * self.pruned)
    self.alive.assign(tf.maximum(self.alive, alive))
    return super().call(inputs)


class _Tell(keras.callbacks.Callback):
  """Tells a probe what is pruned, from outside."""

  def __init__(self, wrapper):
    super().__init__()
    self._wrapper = wrapper

  def on_train_batch_end(self, batch, logs=None):
    mask = self._wrapper.pruning_vars[0][1]
    self._wrapper.layer.pruned.assign(1 - mask)


def _net():
  keras.utils.set_random_seed(1)
  model = keras.Sequential(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      _Probe(16, activation='relu'),
      keras.layers.Dense(2),
    ]
  )
  return tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(0.8, rounds=2)
  )


def _gradients(model, x, y):
  with tf.GradientTape() as tape:
    loss = model.compute_loss(x, y, model(x, training=True))
  return loss, tape.gradient(loss, model.trainable_variables)


class _Sharp(keras.Sequential):
  """A sharpness-aware step by hand."""

  def train_step(self, data):
    x, y = data
    _, gradients = _gradients(self, x, y)
    for variable, gradient in zip(self.trainable_variables, gradients):
      variable.assign_add(0.1 * gradient)
    loss, second = _gradients(self, x, y)
    for variable, gradient in zip(self.trainable_variables, gradients):
      variable.assign_sub(0.1 * gradient)
    self.optimizer.apply_gradients(zip(second, self.trainable_variables))
    return {'loss': loss}


class _SharpFunction(_Sharp):
  """The same, with a function for the second pass."""

  @tf.function
  def second(self, x, y):
    return _gradients(self, x, y)

  def train_step(self, data):
    x, y = data
    _, gradients = _gradients(self, x, y)
    for variable, gradient in zip(self.trainable_variables, gradients):
      variable.assign_add(0.1 * gradient)
    loss, second = self.second(x, y)
    for variable, gradient in zip(self.trainable_variables, gradients):
      variable.assign_sub(0.1 * gradient)
    self.optimizer.apply_gradients(zip(second, self.trainable_variables))
    return {'loss': loss}


class _Noisy(keras.Sequential):
  """Adds noise to the weights before the one pass of a step."""

  def train_step(self, data):
    for variable in self.trainable_variables:
      variable.assign_add(0.01 * tf.ones_like(variable))
    return super().train_step(data)


class _Nudged(keras.Sequential):
  """Moves the weights after the optimizer."""

  def train_step(self, data):
    logs = super().train_step(data)
    for variable in self.trainable_variables:
      variable.assign_add(0.01 * tf.ones_like(variable))
    return logs


class _TwoSteps(keras.Sequential):
  """Takes two steps of the optimizer, as critics do."""

  def train_step(self, data):
    x, y = data
    for _ in range(2):
      loss, gradients = _gradients(self, x, y)
      self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
    return {'loss': loss}


def _keras_sam(net):
  return keras.models.experimental.SharpnessAwareMinimization(net, rho=0.5)


def _of(kind):
  return lambda net: kind(net.layers)


# Each kind once: the optimizer comes after the passes, but for the last.
@pytest.mark.parametrize(
  'make, options, optimizer',
  [
    (_keras_sam, {}, 'adam'),
    (_of(_Sharp), {}, 'sgd'),
    (_of(_Sharp), {'jit_compile': True}, 'adam'),
    (_of(_Sharp), {'run_eagerly': True}, 'sgd'),
    (_of(_SharpFunction), {}, 'adam'),
    (_of(_Noisy), {}, 'sgd'),
    (_of(_Nudged), {}, 'adam'),
    (_of(_Nudged), {}, 'sgd'),
  ],
  ids=['keras', 'hand', 'jit', 'eager', 'function', 'noise', 'nudge', 'sgd'],
)
def test_masks_hold_in_each_pass_and_after_each_step(make, options, optimizer):
  net = _net()
  wrapper = net.layers[1]
  model = make(net)
  toys.compiled_for_labels(model, optimizer, **options)
  tell, spy = _Tell(wrapper), toys.Spy()
  arguments = {'validation_data': None} if 'run_eagerly' in options else {}
  ticket = tf_unilth.LTH(verbose=0)
  watched = [ticket, tell] if make is _keras_sam else [ticket, tell, spy]
  toys.fit(model, *watched, epochs=4, **arguments)
  assert ticket.reached_target and int(wrapper.layer.pruned.numpy().sum()) > 0
  assert int(wrapper.layer.alive) == 0
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()


@pytest.mark.parametrize('optimizer', ['sgd', 'ftrl'])
def test_masks_hold_between_two_steps_of_the_optimizer(optimizer):
  net = _net()
  model = toys.compiled_for_labels(_TwoSteps(net.layers), optimizer)
  ticket = tf_unilth.LTH(verbose=0)
  toys.fit(model, ticket, _Tell(net.layers[1]), epochs=4)
  assert ticket.reached_target and int(net.layers[1].layer.alive) == 0


class _Twice(keras.Sequential):
  """Passes twice without moving a weight, as siamese networks do."""

  def call(self, inputs, training=False):
    first = super().call(inputs, training=training)
    return first + super().call(-inputs, training=training)


def test_a_second_pass_is_not_masked_where_nothing_moved(monkeypatch):
  masked = []
  ours = forward_masking.Step.skips_mask

  def holds(step, wrapper):
    result = ours(step, wrapper)
    masked.append(not result and step.graph is not None)
    return result

  monkeypatch.setattr(forward_masking.Step, 'skips_mask', holds)
  model = _Twice(_net().layers)
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  assert masked and not any(masked)
  assert np.isfinite(model.predict(toys.data()[0], verbose=0)).all()
