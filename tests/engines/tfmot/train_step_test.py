"""A train step: masked gradients, the penalty, and what is traced."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.masked_gradients import TicketGradients
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


class _OwnStep(keras.Sequential):
  """Trains by an optimizer that is not `model.optimizer`."""

  own = None

  def train_step(self, data):
    x, y = data[:2]
    with tf.GradientTape() as tape:
      loss = self.compute_loss(x, y, self(x, training=True))
    variables = self.trainable_variables
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients):
      variable.assign_sub(0.1 * gradient)
    self.optimizer.iterations.assign_add(1)
    return {'loss': loss}


def _own_step() -> keras.Model:
  wrap, schedule = tf_unilth.prune_low_magnitude, tf_unilth.IterativeSparsity
  model = _OwnStep(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      wrap(keras.layers.Dense(2), schedule(0.5, rounds=2)),
    ]
  )
  return toys.compiled_for_labels(model)


def test_kernels_that_the_optimizer_does_not_train_are_masked_too():
  spy = toys.Spy()
  toys.fit(_own_step(), tf_unilth.LTH(verbose=0), spy, epochs=3)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
  assert not spy.batches[-1][0][0].all()


def test_a_ramp_that_could_do_nothing_is_refused():
  with pytest.raises(ValueError, match=r'must apply its gradients by model\.o'):
    toys.fit(_own_step(), tf_unilth.UniLTH(verbose=0))


def test_clipping_by_norm_does_not_see_what_is_pruned():
  layer = keras.layers.Dense(1, use_bias=False, input_shape=(100,))
  model = keras.Sequential([layer])
  kernel = np.zeros((100, 1), np.float32)
  kernel[0] = 1.0
  layer.set_weights([kernel])
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
  model.compile(keras.optimizers.SGD(1.0, clipnorm=0.5), 'mse')
  data = np.ones((8, 100), np.float32), np.full((8, 1), -50.0, np.float32)
  model.fit(*data, callbacks=[tf_unilth.LTH(verbose=0)], verbose=0)
  moved = model.layers[0].layer.kernel.numpy() - kernel
  np.testing.assert_allclose(np.linalg.norm(moved), 0.5, rtol=1e-5)
  assert np.count_nonzero(moved) == 1


@pytest.mark.parametrize('family', [keras.optimizers, keras.optimizers.legacy])
def test_sparse_gradients_are_masked(family):
  model = keras.Sequential(
    [
      keras.layers.Embedding(10, 4, input_length=3),
      keras.layers.Flatten(),
      keras.layers.Dense(2),
    ]
  )
  model = tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(0.5, rounds=2)
  )
  toys.compiled_for_labels(model, family.SGD(0.1, momentum=0.9))
  spy = toys.Spy()
  x = np.random.default_rng(0).integers(0, 10, (32, 3))
  before = toys.kernels(model)[0]
  model.fit(
    x,
    x[:, 0] % 2,
    epochs=3,
    verbose=0,
    callbacks=[tf_unilth.LTH(rewind='weights', verbose=0), spy],
  )
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()
  assert (weights[0] != before)[masks[0]].any()


def test_the_loss_that_is_reported_has_no_penalty():
  model = toys.wrapped(
    toys.dense(),
    tf_unilth.IterativeSparsity(0.5, rounds=1),
    keras.optimizers.SGD(1e-9),
  )
  ramp = tf_unilth.L2Ramp(limit=100.0)
  callback = tf_unilth.DLTH(ramp=ramp, finetune_fraction=0.0, verbose=0)
  history = toys.fit(model, callback, epochs=4).history
  assert history['l2_lambda'][2] > 1
  np.testing.assert_allclose(history['loss'][:3], history['val_loss'][:3], 1e-4)


@pytest.mark.parametrize('penalised', [False, True])
def test_gradients_are_the_same_for_who_negates_them(penalised):
  model = _fitted()
  layers = PrunedLayers(model)
  candidates = [k.weight > 0 for k in layers.kernels]
  coefficient = tf.constant(0.3) if penalised else None
  random = np.random.default_rng(0)
  weights = [kernel.weight for kernel in layers.kernels]
  dense = tf.constant(random.standard_normal(weights[0].shape, np.float32))
  rows = tf.constant(random.standard_normal((2, 2)).astype(np.float32))
  slices = tf.IndexedSlices(rows, tf.constant([1, 3]), tf.constant([16, 2]))
  for gradient, weight in ((dense, 0), (slices, 1), (None, 1)):
    pairs = [(gradient, weights[weight])]
    changed = [
      TicketGradients(layers, candidates, negated).transform(pairs, coefficient)
      for negated in (False, True)
    ]
    (((one, _),), found), (((other, _),), _) = changed
    assert found == {weight}
    if one is not None:
      one, other = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
      np.testing.assert_array_equal(one, other)
      assert np.any(one) and not np.any(other[layers.kernels[weight].mask == 0])
  assert penalised == (one is not None)


def test_weights_are_read_without_a_copy_and_stay_as_they_were():
  with tf.device('CPU'):
    model = _fitted()
  layers = PrunedLayers(model)
  read, again = layers.read_weights(), layers.read_weights()
  assert all(map(np.shares_memory, read, again))
  before = [array.copy() for array in read]
  toys.fit(model, epochs=1)
  for array, old, new in zip(read, before, layers.read_weights(), strict=True):
    np.testing.assert_array_equal(array, old)
    assert np.any(array != new)


def test_a_ramp_before_the_only_cut_keeps_what_is_cut_at_zero():
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.DLTH(verbose=0), spy, epochs=6)
  cut = 0
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
      cut += not mask.all()
  # The masks cut in some steps, and in some of them not yet.
  assert 0 < cut < 2 * len(spy.batches)


def test_a_ramp_holds_what_was_pruned_before_it():
  model = _fitted()
  before = toys.masks(model)
  model = tf_unilth.prune_low_magnitude(
    tf_unilth.strip_pruning(model), tf_unilth.IterativeSparsity(0.8, rounds=1)
  )
  for kernel, mask in zip(PrunedLayers(model).kernels, before):
    kernel.mask.assign(mask)
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.DLTH(verbose=0), spy, epochs=4)
  for _, weights in spy.batches:
    for mask, weight in zip(before, weights):
      assert not weight[~mask].any()
  assert not before[0].all()


class _Traced(keras.Sequential):
  """Counts how often its train step is traced."""

  traces = 0

  def train_step(self, data):
    self.traces += 1
    return super().train_step(data)


@pytest.mark.parametrize(
  ('callback', 'more'),
  [(tf_unilth.LTH, 0), (tf_unilth.UniLTH, 1), (tf_unilth.DLTH, 1)],
)
def test_steps_are_traced_once_with_a_penalty_and_once_without(callback, more):
  model = _Traced(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=3)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, callback(verbose=0), epochs=12)
  assert model.traces == 1 + more


def _ticket() -> keras.Model:
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  return toys.compiled_for_labels(model)


def _fitted() -> keras.Model:
  model = _ticket()
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  return model
