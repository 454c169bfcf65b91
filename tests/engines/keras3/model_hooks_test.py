"""The patches of a Keras 3 model: any training holds the masks."""

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys, toys
from tf_unilth.engines import patches

pytestmark = pytest.mark.keras3


def _planned(target=0.9, **compiled):
  keras.utils.set_random_seed(0)
  return keras_3_toys.planned(
    keras_3_toys.dense(), tf_unilth.IterativeSparsity(target), **compiled
  )


def _pruned(**compiled):
  model = _planned(**compiled)
  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=4)
  return model


def _zeros(model):
  return tf_unilth.sparsity_summary(model).zeros


def _assert_zeros_hold(model):
  plan = model._pruning_plan
  for mask, weight in zip(plan.masks, plan.read_weights(), strict=True):
    assert not weight[~mask].any()


def test_a_fit_without_a_ticket_callback_is_an_error_before_any_run():
  model = _planned()
  with pytest.raises(ValueError, match=r'ticket callback.*UniLTH\(\)'):
    keras_3_toys.fit(model)
  assert model.train_function is None  # No graph was built.


def test_a_users_own_fit_may_take_any_arguments():
  class Own(keras.Sequential):
    def fit(self, *args, **kwargs):
      return super().fit(*args, **kwargs)

  own = Own([keras.layers.Input((6, 6, 1)), *keras_3_toys.dense().layers])
  model = keras_3_toys.planned(own, tf_unilth.IterativeSparsity(0.9))
  with pytest.raises(ValueError, match='ticket callback'):
    keras_3_toys.fit(model)
  callback, (x, y) = tf_unilth.UniLTH(verbose=0), toys.data()
  # By position: inputs, labels, batch size, epochs, verbose and callbacks.
  model.fit(x, y, 8, 6, 0, [callback], validation_data=(x, y))
  assert callback.reached_target


def test_training_after_a_run_holds_the_masks():
  model = _pruned()
  before, weights = _zeros(model), model.get_weights()
  keras_3_toys.fit(model, epochs=2)
  _assert_zeros_hold(model)
  x, y = toys.data()
  model.train_on_batch(x[:8], y[:8])
  _assert_zeros_hold(model)
  assert _zeros(model) == before
  assert any(
    not np.array_equal(old, new)
    for old, new in zip(weights, model.get_weights(), strict=True)
  )


def test_weights_that_are_loaded_after_a_run_are_masked_in_fit():
  model, dense = _pruned(), keras_3_toys.dense().get_weights()
  model.set_weights(dense)
  keras_3_toys.fit(model, epochs=1)
  _assert_zeros_hold(model)


def test_a_model_that_is_compiled_again_holds_the_masks():
  model = _pruned()
  keras_3_toys.compiled_for_labels(model, keras.optimizers.Adam(0.01))
  keras_3_toys.fit(model, epochs=2)
  _assert_zeros_hold(model)


def test_a_compile_in_a_callback_is_followed():
  class Compile(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      if epoch == 4:
        keras_3_toys.compiled_for_labels(
          self.model, keras.optimizers.Adam(0.01)
        )

  model, spy = _planned(), keras_3_toys.Spy()
  callback = tf_unilth.UniLTH(verbose=0)
  keras_3_toys.fit(model, callback, Compile(), spy)
  assert callback.reached_target
  assert isinstance(model.optimizer, keras.optimizers.Adam)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights, strict=True):
      assert not weight[~mask].any()


def test_a_nested_fit_holds_the_masks_and_takes_no_ticket_callback():
  class Nested(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      if epoch == 5:
        keras_3_toys.fit(self.model, epochs=1)
        _assert_zeros_hold(self.model)
        with pytest.raises(ValueError, match='nested fit'):
          keras_3_toys.fit(self.model, tf_unilth.DLTH(verbose=0))

  model, callback = _planned(), tf_unilth.UniLTH(verbose=0)
  keras_3_toys.fit(model, callback, Nested())
  assert callback.reached_target


def test_the_run_ends_after_all_callbacks():
  class Writes(keras.callbacks.Callback):
    def on_train_end(self, logs=None):
      for weight in self.model.trainable_variables:
        weight.assign(np.ones(weight.shape))

  model = _planned()
  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), Writes(), epochs=4)
  _assert_zeros_hold(model)


def test_an_error_ends_the_run_and_the_next_fit_works():
  class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      raise RuntimeError('stop here')

  model = _planned()
  with (
    pytest.warns(UserWarning, match='target was NOT met'),
    pytest.raises(RuntimeError, match='stop here'),
  ):
    keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), Fails())
  callback = tf_unilth.DLTH(verbose=0)
  keras_3_toys.fit(model, callback, epochs=4)
  assert callback.reached_target


def test_one_function_is_traced_per_kind_of_step():
  traces = []

  class Counted(keras.layers.Layer):
    def call(self, inputs):
      traces.append(1)
      return inputs

  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [keras.layers.Input((6, 6, 1)), Counted(), *keras_3_toys.dense().layers]
  )
  model = keras_3_toys.planned(
    model, tf_unilth.IterativeSparsity(0.9, rounds=6)
  )
  traces.clear()
  x, y = toys.data()
  callback = tf_unilth.UniLTH('loss', verbose=0)
  model.fit(x, y, epochs=12, batch_size=8, verbose=0, callbacks=[callback])
  if keras.backend.backend() == 'torch':
    assert len(traces) == 1 + 12 * 8  # Each step runs it.
  else:
    # With the ramp and without; a backend may trace each step twice.
    assert len(traces) <= 4
  assert len(model._pruning_plan.hooks._functions) == 2


def _owned(model):
  """Returns the attributes of instances that differ from their classes'."""
  optimizer = model.optimizer
  names = {
    'Keras 3 model': model,
    'Keras 3 optimizer': getattr(optimizer, 'inner_optimizer', optimizer),
  }
  return {
    (owner, name)
    for owner, thing in names.items()
    for name, value in vars(thing).items()
    if 'tf_unilth'
    in getattr(getattr(value, '__code__', None), 'co_filename', '')
    or 'tf_unilth' in type(getattr(value, '__self__', value)).__module__
  }


def test_all_patches_are_in_the_table_and_are_taken_back():
  model = _pruned()
  table = {
    (row.owner, row.attribute)
    for row in patches.TABLE
    if row.lasts == patches.PLANNED
  }
  found = _owned(model)
  assert ('Keras 3 model', 'fit') in found
  assert ('Keras 3 optimizer', 'apply') in found
  assert found <= table
  stripped = tf_unilth.strip_pruning(model)
  assert stripped is model and not _owned(model)
  plain = keras_3_toys.compiled_for_labels(keras_3_toys.dense())
  keras_3_toys.fit(plain, epochs=1)
  assert len(model.optimizer.variables) == len(plain.optimizer.variables)
  assert set(vars(model)) == set(vars(plain))
  keras_3_toys.fit(model, epochs=1)  # Plain training, without a callback.
  assert tf_unilth.sparsity_summary(model).sparsity < 0.5


def test_a_custom_loop_holds_the_masks():
  model = _planned()
  callback = tf_unilth.DLTH(verbose=0)
  callbacks = keras.callbacks.CallbackList(
    [callback], model=model, epochs=4, steps=8
  )
  x, y = toys.data()
  callbacks.on_train_begin()
  for epoch in range(4):
    callbacks.on_epoch_begin(epoch)
    for step in range(8):
      model.train_on_batch(x[step::8], y[step::8])
      callback.after_step()
      callbacks.on_train_batch_end(step)
      _assert_zeros_hold(model)
    callbacks.on_epoch_end(epoch, {})
  callbacks.on_train_end()
  assert callback.reached_target


def test_a_custom_loop_on_the_backend_holds_the_masks():
  """The optimizer's `apply`, called by the loop itself."""
  model = _planned()
  callback = tf_unilth.UniLTH('loss', verbose=0)
  callbacks = keras.callbacks.CallbackList(
    [callback], model=model, epochs=8, steps=8
  )
  step = _backend_step(model)
  x, y = toys.data()
  callbacks.on_train_begin()
  for epoch in range(8):
    callbacks.on_epoch_begin(epoch)
    for number in range(8):
      step(x[number::8], y[number::8])
      callback.after_step()
      callbacks.on_train_batch_end(number)
      _assert_zeros_hold(model)
    callbacks.on_epoch_end(epoch, {'loss': 1.0 / (epoch + 1)})
  callbacks.on_train_end()
  assert callback.reached_target


def _backend_step(model):
  """Returns a compiled step as users write it for each backend."""
  backend = keras.backend.backend()
  if backend == 'jax':
    return _jax_step(model)
  if backend == 'torch':
    return _torch_step(model)
  import tensorflow as tf

  @tf.function
  def step(x, y):
    with tf.GradientTape() as tape:
      loss = model.compute_loss(x, y, model(x, training=True))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    model.optimizer.apply_gradients(zip(gradients, variables))

  return step


def _torch_step(model):
  import torch

  def step(x, y):
    model.zero_grad()
    loss = model.compute_loss(x, y, model(x, training=True))
    loss.backward()
    variables = list(model.trainable_variables)
    with torch.no_grad():
      gradients = [variable.value.grad for variable in variables]
      model.optimizer.apply(gradients, variables)

  return step


def _jax_step(model):
  import jax

  def loss_of(trainable, others, x, y):
    outputs, others = model.stateless_call(trainable, others, x, training=True)
    return model.compute_loss(x, y, outputs), others

  @jax.jit
  def update(state, x, y):
    trainable, others, slots = state
    gradients, others = jax.grad(loss_of, has_aux=True)(trainable, others, x, y)
    trainable, slots = model.optimizer.stateless_apply(
      slots, gradients, trainable
    )
    return trainable, others, slots

  def step(x, y):
    # The callback reads and writes the variables between steps.
    variables = (
      model.trainable_variables,
      model.non_trainable_variables,
      model.optimizer.variables,
    )
    state = [[v.value for v in group] for group in variables]
    for group, values in zip(variables, update(state, x, y), strict=True):
      for variable, value in zip(group, values, strict=True):
        variable.assign(value)

  return step
