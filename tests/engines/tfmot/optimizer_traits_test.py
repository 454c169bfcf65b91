"""Optimizers: zeros stay zero, and slots are found."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import keras_classes
from tests.testing import toys
from tf_unilth.engines.tfmot import optimizer_traits

_NEW = ('Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax')


_NEW += ('Nadam', 'RMSprop', 'SGD')


_LEGACY = ('Adadelta', 'Adagrad', 'Adam', 'Adamax', 'Nadam', 'RMSprop', 'SGD')
_OPTIMIZERS = {
  **{name: getattr(keras.optimizers, name)() for name in _NEW},
  **{
    f'legacy {name}': getattr(keras.optimizers.legacy, name)()
    for name in _LEGACY
  },
  'nesterov': keras.optimizers.SGD(
    momentum=0.9, nesterov=True, weight_decay=0.1
  ),
  'legacy momentum': keras.optimizers.legacy.SGD(momentum=0.9),
  'amsgrad': keras.optimizers.Adam(amsgrad=True),
  'centered': keras.optimizers.RMSprop(momentum=0.9, centered=True),
  "the recipes'": keras_classes.sgd(keras)(
    0.1, l2=0.01, momentum=0.9, nesterov=True
  ),
}


@pytest.mark.parametrize('name', _OPTIMIZERS)
def test_zeros_stay_zero_under_an_optimizer_of_keras(name):
  optimizer = _OPTIMIZERS[name]
  assert optimizer_traits.preserves_zeros(optimizer)
  weight = tf.Variable([[0.0, 1.0], [2.0, 0.0]])
  mask = weight.numpy() != 0
  for _ in range(2):  # Momentum that the mask must clear.
    optimizer.apply_gradients([(tf.ones((2, 2)), weight)])
  slots = optimizer_traits.slots(optimizer, weight)
  for variable in [weight, *slots]:
    variable.assign(np.where(mask, variable.numpy(), 0))
  for _ in range(3):
    optimizer.apply_gradients([(tf.constant(mask, tf.float32), weight)])
    assert not weight.numpy()[~mask].any()
    assert np.isfinite(weight.numpy()).all() and weight.numpy()[mask].all()


def test_slots_are_found_whatever_the_optimizer():
  weights = [tf.Variable(tf.zeros((2, 3))), tf.Variable(tf.zeros(3))]
  frozen = tf.Variable(tf.zeros((2, 3)))
  for optimizer, count in (
    (keras.optimizers.SGD(momentum=0.9), 1),
    (keras.optimizers.Adam(), 2),
    (keras.optimizers.legacy.Adam(), 2),
    (keras.optimizers.legacy.SGD(), 0),
  ):
    optimizer.apply_gradients([(tf.ones(w.shape), w) for w in weights])
    for weight in weights:
      slots = optimizer_traits.slots(optimizer, weight)
      assert [s.shape for s in slots] == [weight.shape] * count
    assert not optimizer_traits.slots(optimizer, frozen)


def test_an_optimizer_that_moves_zeros_is_not_relied_on():
  class Noisy(keras.optimizers.SGD):
    def update_step(self, gradient, variable):
      variable.assign_add(tf.ones_like(variable))

  for optimizer in (
    Noisy(),
    keras.optimizers.Ftrl(),
    keras.optimizers.Adam(epsilon=0.0),
  ):
    assert not optimizer_traits.preserves_zeros(optimizer)
  spy = toys.Spy()
  model = toys.wrapped(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=2), Noisy()
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=3)
  pruned = 0
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
      pruned += np.sum(~mask)
  assert pruned


def test_a_class_says_of_itself_alone_that_it_keeps_zeros():
  class Says(keras.optimizers.SGD):
    keeps_zeros = True

  class DerivesFromIt(Says):
    pass

  assert optimizer_traits.preserves_zeros(Says())
  assert not optimizer_traits.preserves_zeros(DerivesFromIt())


def _noise(pairs):
  return [(gradient + 1.0, variable) for gradient, variable in pairs]


def _replaced() -> keras.optimizers.Optimizer:
  """An optimizer whose gradients a user changes on their way."""
  optimizer = keras.optimizers.SGD(0.1)
  apply = optimizer.apply_gradients
  optimizer.apply_gradients = lambda pairs, *args, **kwargs: apply(
    _noise(pairs), *args, **kwargs
  )
  return optimizer


@pytest.mark.parametrize(
  ('optimizer', 'constraint'),
  [
    (_replaced(), None),
    (
      keras.optimizers.legacy.SGD(0.1, gradient_transformers=[_noise]),
      None,
    ),
    (keras.optimizers.SGD(0.1), lambda w: w - tf.reduce_mean(w)),
  ],
  ids=['replaced', 'transformed', 'constrained'],
)
def test_zeros_stay_whatever_comes_after_the_masks(optimizer, constraint):
  layer = keras.layers.Dense(2, kernel_constraint=constraint)
  model = tf_unilth.prune_low_magnitude(
    keras.Sequential([keras.layers.Flatten(input_shape=(6, 6, 1)), layer]),
    tf_unilth.IterativeSparsity(0.5, rounds=1),
  )
  spy = toys.Spy()
  toys.compiled_for_labels(model, optimizer)
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=3, validation_data=None)
  for masks, weights in spy.batches:
    assert not weights[0][~masks[0]].any()
  assert not masks[0].all()


def test_only_variables_are_slots():
  weights = [tf.Variable([1.0]), tf.Variable([1.0])]
  optimizer = keras.optimizers.SGD(momentum=0.9, weight_decay=0.1)
  optimizer.exclude_from_weight_decay(var_names=['as many', 'as weights'])
  optimizer.build(weights)
  assert len(optimizer_traits.slots(optimizer, weights[1])) == 1
