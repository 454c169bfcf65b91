"""HyperSparse: its penalty, its lambda, its cut, and a run that goes on."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import hypersparse, methods
from recipes.training.method_settings import Settings
from tests.testing import interrupts, tiny_recipe

_STEPS, _EPOCHS = 4, 10  # Steps per epoch, epochs.
_SIZES = (12, 40, 3)


class Died(Exception):
  """A `fit` that died."""


class _Spy(keras.callbacks.Callback):
  """Records the kernels and the zeros after each step."""

  def __init__(self):
    super().__init__()
    self.kernels, self.zeros = [], []

  def on_train_batch_end(self, batch, logs=None):
    found = [
      w.numpy().ravel()
      for w in self.model.trainable_weights
      if w.shape.rank > 1
    ]
    self.kernels.append(np.concatenate(found))
    self.zeros.append(tf_unilth.sparsity_summary(self.model).zeros)


def _setup(sparsity=0.9, limit=None, **given):
  """Returns the rate and the training setup of a toy."""
  rate = tf_unilth.StagedLearningRate(0.05, decay_steps=_STEPS * _EPOCHS)
  ramp = {} if limit is None else {'ramp': tf_unilth.L2Ramp(limit=limit)}
  options = {'lr_restart': False, 'begin_fraction': None, 'end_fraction': 0.7}
  settings = Settings(
    target_sparsity=sparsity,
    steps=_STEPS * _EPOCHS,
    seed=0,
    rate=rate,
    schedule={},
    callback={'verbose': 0, **ramp},
    keras=keras,
    **{**options, **given},
  )
  return rate, methods.training_setup('hypersparse', settings)


def _train(*more, **given):
  """Trains a toy; returns the model and what the spy saw."""
  keras.utils.set_random_seed(0)
  x = np.random.default_rng(0).normal(size=(_STEPS * 8, _SIZES[0]))
  rate, made = _setup(**given)
  layers = [keras.layers.Dense(n) for n in _SIZES[1:]]
  model = keras.Sequential([keras.layers.Input(_SIZES[:1]), *layers])
  model = tf_unilth.prune_low_magnitude(model, made.schedule)
  model.compile(keras.optimizers.SGD(rate, momentum=0.9), 'mse')
  spy = _Spy()
  callbacks = [*made.callbacks, spy, *more]
  arguments = {'verbose': 0, 'shuffle': False, 'callbacks': callbacks}
  model.fit(x, x[:, :3] ** 2, 8, _EPOCHS, **arguments)
  return model, spy


def _added_gradient(model, kernels):
  """Returns the gradient of all that a model adds to its loss."""
  with tf.GradientTape() as tape:
    loss = tf.add_n(model.losses)
  return tape.gradient(loss, kernels, unconnected_gradients='zero')


def _kernels(sparsity):
  rng = np.random.default_rng(1)
  kernels = [tf.Variable(rng.normal(size=s), dtype='float32') for s in (3, 9)]
  flat = np.concatenate([k.numpy() for k in kernels]).astype(float)
  sizes = np.abs(flat)
  scale = 0.6585 / np.sort(sizes)[int(sparsity * 12)]
  return kernels, flat, sizes, scale


@pytest.mark.parametrize('sparsity', [0.0, 0.5, 0.8])
def test_the_penalty_is_0_and_its_gradient_that_of_its_definition(sparsity):
  kernels, flat, sizes, scale = _kernels(sparsity)
  with tf.GradientTape() as tape:
    loss = hypersparse.penalty(kernels, sparsity)
  assert abs(float(loss)) < 1e-5
  found = np.concatenate(tape.gradient(loss, kernels))
  constant = np.tanh(scale * sizes).sum()

  def defined(w):
    """Returns L_HS with its constants as they were, as the paper has it."""
    bent = np.tanh(scale * np.abs(w)).sum()
    return (np.abs(w) * bent).sum() / constant - np.abs(w).sum()

  for i in range(12):
    step = np.eye(12)[i] * 1e-6
    slope = (defined(flat + step) - defined(flat - step)) / 2e-6
    assert found[i] == pytest.approx(slope, abs=1e-4)


def test_small_weights_are_pushed_and_large_ones_are_not():
  kernel = tf.Variable([1e-3, -1e-3, 0.01, 5.0, 0.0])
  with tf.GradientTape() as tape:
    loss = hypersparse.penalty([kernel], 0.6)  # Keeps two of five.
  small, negative, bend, large, zero = tape.gradient(loss, kernel).numpy()
  assert small == -negative > bend > 100 * abs(large) and zero == 0
  # Where more weights are 0 than the cut takes, there is nothing to push.
  kernel.assign([0.0, 0.0, 0.0, 0.0, 1.0])
  with tf.GradientTape() as tape:
    loss = hypersparse.penalty([kernel], 0.6)
  assert not np.any(tape.gradient(loss, kernel))


def test_lambda_rises_by_the_same_factor_in_each_epoch():
  found = [hypersparse.lambda_in(epoch, 5, 0.05) for epoch in range(5)]
  assert found[0] == 5e-6 and found[-1] == pytest.approx(0.05)
  factors = np.divide(found[1:], found[:-1])
  np.testing.assert_allclose(factors, 10)
  assert hypersparse.lambda_in(0, 1, 0.05) == 0.05
  assert not any(hypersparse.lambda_in(epoch, 5, 0.0) for epoch in range(5))


def test_the_epochs_of_the_penalty():
  spans = (15, (0.2, 0.7)), (10, (0.0, 0.7)), (3, (0.2, 0.7)), (4, (0.1, 0.99))
  found = [hypersparse.penalized_epochs(*span) for span in spans]
  assert found == [(3, 10), (0, 7), (1, 2), (0, 3)]


def test_a_run_has_dense_epochs_a_penalty_one_cut_and_its_exact_target():
  model, spy = _train()
  total = spy.kernels[0].size
  cut = next(i for i, zeros in enumerate(spy.zeros) if zeros)
  assert cut == 7 * _STEPS
  assert {*spy.zeros[cut:]} == {round(0.9 * total)}
  # The cut is by magnitude over all layers, as they were a step before.
  smallest = np.argsort(np.abs(spy.kernels[cut - 1]))[: spy.zeros[-1]]
  assert np.mean(spy.kernels[cut][smallest] == 0) > 0.95
  kernels = [w for w in model.trainable_weights if w.shape.rank > 1]
  for epoch in range(_EPOCHS):
    strength = hypersparse.lambda_in(epoch - 2, 5, hypersparse.LAST_LAMBDA)
    strength *= 2 <= epoch < 7
    model.optimizer.iterations.assign(epoch * _STEPS + _STEPS - 1)
    found = _added_gradient(model, kernels)
    with tf.GradientTape() as tape:
      loss = hypersparse.penalty(kernels, 0.9)
    for ours, whole in zip(found, tape.gradient(loss, kernels), strict=True):
      np.testing.assert_allclose(ours, strength * whole, rtol=1e-5)


def test_the_penalty_moves_the_magnitude_into_the_weights_that_are_kept():
  # As the paper reports: so there is less for the cut to take.
  kept = {}
  for limit in (0.0, 1.0):
    _, spy = _train(limit=limit)
    cut = next(i for i, zeros in enumerate(spy.zeros) if zeros)
    sizes = np.sort(np.abs(spy.kernels[cut - 1]))
    kept[limit] = sizes[-60:].sum() / sizes.sum()
  assert kept[1.0] > kept[0.0] + 0.08, kept


def test_a_run_that_died_ends_bit_identical(tmp_path):
  def die():
    raise Died

  def train(name, *more):
    resume = tf_unilth.CheckpointAndResume(
      tmp_path / name, every_steps=7, verbose=0
    )
    model, _ = _train(resume, *more, limit=0.1)
    return [w.tobytes() for w in model.get_weights()]

  with pytest.raises(Died):
    # Within an epoch of the penalty, and not where the last state was saved.
    train('died', interrupts.At(23, die))
  assert train('died') == train('whole')


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'begin_fraction': 0.7}, '--begin_fraction must be below --end_fraction'),
    ({'end_fraction': 1.0}, '--end_fraction must be below 1 for --method=hyp'),
    ({'limit': 1e-6}, '--limit must be 0 or at least 5e-06 for --method=hyp'),
  ],
)
def test_what_it_cannot_do_is_an_error(given, message):
  with pytest.raises(ValueError, match=message):
    _setup(**given)


def test_keras_3_is_refused(tmp_path):
  error = tiny_recipe.main(
    '--keras=keras', '--method=hypersparse', f'--output_dir={tmp_path / "a"}'
  )
  assert '--method=hypersparse needs --keras=tf_keras' in error
