"""Whatever trained or wrote weights since the last round, readers see zeros."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys

TOTAL = 36 * 16 + 16 * 2
ZEROS = round(0.8 * TOTAL)


def _finished() -> keras.Model:
  keras.utils.set_random_seed(0)
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.8)
  )
  toys.compiled_for_labels(model, keras.optimizers.Adam(0.01))
  toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=3)
  return model


@pytest.fixture(scope='module')
def finished():
  model = _finished()
  state = [w.numpy() for w in model.weights]
  yield model, state


@pytest.fixture
def ticket(finished):
  """A finished ticket, as it was when its fit ended."""
  model, state = finished
  model.set_weights(state)
  return model


def _densify(model: keras.Model) -> None:
  for layer in model.layers:
    for weight, *_ in getattr(layer, 'pruning_vars', []):
      weight.assign_add(tf.ones_like(weight))


def _plain_fit(model: keras.Model) -> None:
  model.fit(*toys.data(), epochs=1, verbose=0)


def _train_on_batch(model: keras.Model) -> None:
  model.train_on_batch(*toys.data())


def _own_loop(model: keras.Model) -> None:
  x, y = map(tf.constant, toys.data())
  with tf.GradientTape() as tape:
    loss = model.compute_loss(x, y, model(x, training=True))
  variables = model.trainable_variables
  model.optimizer.apply_gradients(
    zip(tape.gradient(loss, variables), variables)
  )


WRITERS = [_densify, _plain_fit, _train_on_batch, _own_loop]


@pytest.mark.parametrize('write', WRITERS)
def test_a_stripped_model_is_masked_and_computes_what_the_wrapped_one_does(
  ticket, write
):
  write(ticket)
  alive = toys.size(toys.kernels(ticket)) - toys.zeros(toys.kernels(ticket))
  assert alive > TOTAL - ZEROS  # So that there is something to mask.
  assert tf_unilth.sparsity_summary(ticket).zeros == ZEROS
  stripped = tf_unilth.strip_pruning(ticket)
  kernels = [w.numpy() for w in stripped.trainable_weights if w.shape.rank > 1]
  assert toys.zeros(kernels) == ZEROS
  x = toys.data()[0]
  np.testing.assert_array_equal(
    stripped.predict(x, verbose=0), ticket.predict(x, verbose=0)
  )


@pytest.mark.parametrize(
  'name', ['a.keras', 'a.h5', 'saved_model', 'a.weights.h5', 'weights.h5']
)
def test_files_hold_masked_weights(ticket, tmp_path, name):
  _densify(ticket)
  path = str(tmp_path / name)
  if 'weights' in name:
    ticket.save_weights(path)
    loaded = tf_unilth.prune_low_magnitude(
      toys.dense(), tf_unilth.IterativeSparsity(0.8)
    )
    loaded.load_weights(path)
  else:
    ticket.save(path)
    loaded = keras.models.load_model(path)
  assert toys.zeros(toys.kernels(loaded)) == ZEROS


def test_a_loaded_model_is_stripped_to_masked_weights(ticket, tmp_path):
  ticket.save(tmp_path / 'a.keras')
  loaded = keras.models.load_model(tmp_path / 'a.keras')
  _densify(loaded)
  stripped = tf_unilth.strip_pruning(loaded)
  assert tf_unilth.sparsity_summary(stripped).zeros == ZEROS


def test_tfmots_own_wrapper_is_stripped_to_masked_weights():
  model = tfmot.sparsity.keras.prune_low_magnitude(
    toys.dense(), tfmot.sparsity.keras.ConstantSparsity(0.5, 1, frequency=1)
  )
  toys.compiled_for_labels(model)
  step = tfmot.sparsity.keras.UpdatePruningStep()
  model.fit(*toys.data(), epochs=1, verbose=0, callbacks=[step])
  _densify(model)
  stripped = tf_unilth.strip_pruning(model)
  assert tf_unilth.sparsity_summary(stripped).sparsity == pytest.approx(0.5)


def test_a_test_step_that_others_call_masks(ticket):
  x, y = map(tf.constant, toys.data())
  ticket.evaluate(x, y, verbose=0)
  step = tf.function(lambda: ticket.test_step((x, y)))
  step()
  _densify(ticket)
  ticket.reset_metrics()
  loss = float(step()['loss'])
  expected = ticket.evaluate(x, y, verbose=0)[0]
  np.testing.assert_allclose(loss, expected, 1e-5)


def test_a_ticket_of_a_model_that_was_trained_on_has_its_mask(ticket):
  before = tf_unilth.Ticket.from_model(ticket).masks
  _plain_fit(ticket)
  after = tf_unilth.Ticket.from_model(ticket).masks
  for name, mask in before.items():
    np.testing.assert_array_equal(mask, after[name])


def test_a_dense_model_that_was_to_be_sparse_is_stripped_with_a_warning():
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.8)
  )
  with pytest.warns(UserWarning, match='is dense: its masks have no zeros'):
    tf_unilth.strip_pruning(model)


class _Subclassed(keras.Model):
  def __init__(self):
    super().__init__()
    self.flatten = keras.layers.Flatten()
    self.hidden = tf_unilth.prune_low_magnitude(
      keras.layers.Dense(16, activation='relu'),
      tf_unilth.IterativeSparsity(0.8),
    )
    self.head = keras.layers.Dense(2)

  def call(self, inputs):
    return self.head(self.hidden(self.flatten(inputs)))


def test_nothing_of_a_run_outlives_its_owner():
  keras.utils.set_random_seed(0)
  model = _Subclassed()
  model(toys.data()[0][:1])
  toys.compiled_for_labels(model)
  before = dict(vars(model)), dict(vars(model.optimizer))
  dense = model.hidden.layer
  callback = tf_unilth.DLTH(verbose=0)
  callbacks = keras.callbacks.CallbackList([callback], model=model)
  for _ in range(2):
    callbacks.set_params({'epochs': 3, 'steps': 8, 'verbose': 0})
    model.fit(*toys.data(), batch_size=8, epochs=3, callbacks=callbacks)
    assert callbacks.callbacks == [callback]
  assert not [
    n
    for n in vars(model.optimizer)
    if callable(vars(model.optimizer)[n]) and n not in before[1]
  ]
  left = set(vars(model)) - set(before[0])
  holds = {
    'test_step',
    'make_test_function',
    'predict_step',
    'make_predict_function',
    'save_weights',
  }
  assert holds <= left and not {'train_step', 'make_train_function'} & left

  model = tf_unilth.strip_pruning(model)
  assert not holds & set(vars(model))
  assert not hasattr(dense, 'get_prunable_weights')
  dense.kernel.assign(tf.ones_like(dense.kernel))
  toys.compiled_for_labels(model)
  model.evaluate(*toys.data(), verbose=0)
  model.predict(toys.data()[0], verbose=0)
  model.fit(*toys.data(), epochs=1, verbose=0)
  assert np.all(dense.kernel.numpy() != 0)


def test_a_subclassed_model_is_not_stripped_in_its_own_fit():
  model = _Subclassed()
  model(toys.data()[0][:1])
  toys.compiled_for_labels(model)
  strip = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: tf_unilth.strip_pruning(model)
  )
  with pytest.raises(RuntimeError, match='call strip_pruning after fit'):
    toys.fit(model, tf_unilth.LTH(verbose=0), strip, epochs=3)


class _Around(keras.Model):
  def __init__(self):
    super().__init__()
    self.inner = _Subclassed()

  def call(self, inputs):
    return self.inner(inputs)


@pytest.mark.parametrize('fitted', ['inner', 'outer'])
def test_models_inside_of_models_are_let_go_together(fitted):
  model = _Around()
  model(toys.data()[0][:1])
  trained, stripped = model, model.inner
  if fitted == 'inner':
    trained, stripped = stripped, trained
  toys.compiled_for_labels(trained)
  toys.fit(trained, tf_unilth.DLTH(verbose=0), epochs=3)
  tf_unilth.strip_pruning(stripped)
  kernel = model.inner.hidden.kernel
  kernel.assign(tf.ones_like(kernel))
  trained.evaluate(*toys.data(), verbose=0)
  assert np.all(kernel.numpy() == 1)
  assert 'test_step' not in vars(trained)
