"""The optimizer that trains the wrapped layers is the clock, rate and state."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys


def _net(target=0.8):
  keras.utils.set_random_seed(1)
  return tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(target, rounds=2)
  )


class _Gan(keras.Model):
  """Two networks with an optimizer each, compiled as Keras's examples do."""

  def __init__(self, net, first, second):
    super().__init__()
    self.net, self.other = net, toys.dense()
    self.first, self.second = first, second

  def call(self, inputs):
    return self.net(inputs)

  def train_step(self, data):
    x, y = data
    for network, optimizer in (
      (self.other, self.second),
      (self.net, self.first),
    ):
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
          keras.losses.sparse_categorical_crossentropy(
            y, network(x, training=True), from_logits=True
          )
        )
      variables = network.trainable_variables
      optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return {'loss': loss}


def _gan(first, second=None, net=None):
  second = second or keras.optimizers.Adam(0.01)
  model = _Gan(net or _net(), first, second)
  model(toys.data()[0][:1])
  model.compile()  # Keras gives it an RMSprop that nobody applies.
  return model


def _fit(model, *callbacks, **arguments):
  x, y = toys.data()
  return model.fit(
    x, y, batch_size=8, verbose=0, callbacks=[*callbacks], **arguments
  )


@pytest.mark.parametrize(
  'optimizer',
  [
    lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    pytest.param(
      lambda: keras.optimizers.legacy.Adam(0.01), marks=pytest.mark.long
    ),
  ],
  ids=['sgd', 'legacy'],
)
def test_the_ramp_follows_the_optimizer_of_the_wrapped_network(optimizer):
  shrunk = []
  for ramp in (tf_unilth.L2Ramp(), tf_unilth.L2Ramp(limit=0)):
    model = _gan(optimizer())
    spy = keras.callbacks.LambdaCallback()
    before = []

    def look(batch, logs, model=model, before=before):
      before.append(model.net.trainable_weights[0].numpy())

    spy.on_train_batch_end = look
    ticket = tf_unilth.DLTH(ramp=ramp, verbose=0)
    history = _fit(model, ticket, spy, epochs=6).history
    assert (max(history['l2_lambda']) > 0) == (ramp.limit is None)
    masks = toys.masks(model.net)
    assert ticket.reached_target
    # The last step before round 1 ends.
    first_end = next(i for i, w in enumerate(before) if np.mean(w == 0) > 0.1)
    gone = before[first_end] == 0
    shrunk.append(np.abs(before[first_end - 1][gone]).mean())
    assert not before[-1][~masks[0]].any()
  assert shrunk[0] < 0.5 * shrunk[1]


def test_its_state_is_rewound_and_its_decay_restarted():
  rate = tf_unilth.StagedLearningRate(0.05)
  own = keras.optimizers.SGD(rate, momentum=0.9)
  model = _gan(own)
  seen = []
  look = keras.callbacks.LambdaCallback(
    on_train_batch_end=lambda batch, logs: seen.append(
      (float(rate(own.iterations)), [v.numpy() for v in own.variables])
    )
  )
  _fit(model, tf_unilth.LTH(verbose=0), look, epochs=9)
  # Three trainings of 24 steps; each begins with the state of the start.
  for step, (now, state) in enumerate(seen, start=1):
    assert int(state[0]) == (step % 24 or 24 * (step == 72))
    if step in (24, 48):
      assert now == pytest.approx(0.05)
      assert not any(np.any(momentum) for momentum in state[2:])
    if step in (23, 47):
      assert now < 0.001


def test_two_optimizers_of_wrapped_networks_are_named():
  schedule = tf_unilth.IterativeSparsity(0.5)
  model = _gan(keras.optimizers.SGD(0.1, name='one'))
  model.other = tf_unilth.prune_low_magnitude(toys.dense(), schedule)
  with pytest.raises(ValueError, match=r"SGD 'one'|Adam 'Adam'.*SGD 'one'"):
    _fit(model, tf_unilth.DLTH(verbose=0), epochs=6)


class _Hidden(keras.Sequential):
  """Trains by an optimizer that is no attribute of it."""

  def train_step(self, data):
    x, y = data
    with tf.GradientTape() as tape:
      loss = self.compute_loss(x, y, self(x, training=True))
    variables = self.trainable_variables
    _HIDDEN[0].apply_gradients(zip(tape.gradient(loss, variables), variables))
    return {'loss': loss}


_HIDDEN: list = []


def test_an_optimizer_that_cannot_be_found_is_an_error_that_names_ours():
  _HIDDEN[:] = [keras.optimizers.Adam(0.01)]
  model = _Hidden(_net().layers)
  toys.compiled_for_labels(model, keras.optimizers.SGD())
  with pytest.raises(ValueError, match=r"by model\.optimizer, SGD 'SGD'"):
    _fit(model, tf_unilth.DLTH(verbose=0), epochs=6)


def test_a_rewind_that_cannot_reach_the_optimizer_is_warned_of():
  _HIDDEN[:] = [keras.optimizers.Adam(0.01)]
  model = toys.compiled_for_labels(_Hidden(_net().layers))
  with pytest.warns(UserWarning, match='optimizer that does is not rewound'):
    _fit(model, tf_unilth.LTH(verbose=0), epochs=9)


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_frozen_layers_are_told_apart_from_a_foreign_optimizer(optimizer):
  base = _net()
  base.trainable = False
  model = keras.Sequential([base, keras.layers.Dense(2)])
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model, optimizer)
  with pytest.raises(ValueError, match='all wrapped layers are frozen'):
    _fit(model, tf_unilth.DLTH(verbose=0), epochs=4)
  # A finished ticket is held, whatever is frozen.
  held = tf_unilth.prune_low_magnitude(toys.dense(), tf_unilth.FixedMask())
  held.trainable = False
  model = keras.Sequential([held, keras.layers.Dense(2)])
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model, optimizer)
  _fit(model, tf_unilth.DLTH(verbose=0), epochs=1)


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_a_frozen_layer_among_others_is_not_shrunk(optimizer):
  model = _net()
  model.layers[1].trainable = False
  toys.compiled_for_labels(model, optimizer)
  frozen = model.layers[1].layer.kernel
  before, seen = frozen.numpy(), []
  look = keras.callbacks.LambdaCallback(
    on_train_batch_end=lambda batch, logs: seen.append(frozen.numpy())
  )
  with pytest.warns(UserWarning, match='frozen layers .* are pruned without'):
    _fit(model, tf_unilth.DLTH(verbose=0), look, epochs=4)
  for weight in seen:
    np.testing.assert_array_equal(weight[weight != 0], before[weight != 0])
  np.testing.assert_array_equal(seen[0], before)


def test_a_loop_that_applies_another_optimizer_is_refused():
  model = toys.compiled_for_labels(_net())
  own = keras.optimizers.SGD(0.1)
  ticket = tf_unilth.DLTH(verbose=0)
  callbacks = keras.callbacks.CallbackList(
    [ticket], model=model, epochs=4, steps=1
  )
  x, y = map(tf.constant, toys.data())
  callbacks.on_train_begin()
  callbacks.on_epoch_begin(0)
  with tf.GradientTape() as tape:
    loss = model.compute_loss(x, y, model(x)) + ticket.penalty()
  variables = model.trainable_variables
  own.apply_gradients(zip(tape.gradient(loss, variables), variables))
  ticket.after_step()
  callbacks.on_train_batch_end(0)
  with pytest.raises(ValueError, match="SGD 'SGD', the optimizer of the model"):
    callbacks.on_epoch_end(0, {'val_loss': 1.0})


class _NoConfig(keras.optimizers.schedules.LearningRateSchedule):
  def __call__(self, step):
    return 0.1 / tf.sqrt(1.0 + tf.cast(step, tf.float32))


class _ShortConfig(keras.optimizers.SGD):
  def get_config(self):
    return {}


def test_numbers_are_read_from_attributes_not_from_configurations():
  model = _net()
  toys.compiled_for_labels(model, _ShortConfig(_NoConfig(), momentum=0.9))
  ticket = tf_unilth.UniLTH(verbose=0)
  toys.fit(model, ticket, epochs=8)
  assert ticket.reached_target
