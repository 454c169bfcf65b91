"""The hook of a Keras 3 optimizer: zeros under any of them, and the ramp."""

from typing import Any

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys
from tf_unilth.engines.keras3 import backend_values

pytestmark = pytest.mark.keras3
BACKEND = keras.backend.backend()
optimizers = keras.optimizers


class _Engine:
  """Trains a model by an engine, without an algorithm."""

  needs_training, rewinds = True, False

  def __init__(self, model: keras.Model, ramp: Any = None):
    self.model = model
    self.engine = _create(model)
    self.engine.attach_state()
    self.engine.find_optimizer(True)
    self.engine.prepare(ramp)
    self.engine.arm(self)
    self.engine.set_step_kind(False, True)

  def on_optimizer_replaced(self, iterations: int) -> None:
    """See `RunEvents`."""

  def release(self) -> None:
    """See `RunEvents`."""

  def train(self, x: Any, y: Any, steps: int) -> None:
    for _ in range(steps):
      self.model.train_on_batch(x, y)

  def prune_half(self) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    masks = [rng.random(k.shape) < 0.5 for k in self.engine.kernels]
    self.engine.write_masks(masks)
    self.engine.clear_slots(masks)
    return masks

  def assert_zeros(self, masks: list[np.ndarray]) -> None:
    for mask, weight in zip(masks, self.engine.read_weights(), strict=True):
      assert not weight[~mask].any()
      assert np.isfinite(weight).all()


def _create(model):
  from tf_unilth.engines.keras3.engine import Keras3Engine

  return Keras3Engine(model, tf_unilth.DLTH(verbose=0))


def _data():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(8, 6, 6, 1)).astype(np.float32)
  return x, rng.integers(0, 2, 8)


def _exact(optimizer, model=keras_3_toys.dense, steps=3, **compiled):
  keras.utils.set_random_seed(0)
  # As users train: compiled, where Keras can.
  compiled = {'jit_compile': 'auto', **compiled}
  planned = keras_3_toys.planned(
    model(), tf_unilth.IterativeSparsity(0.5), optimizer, **compiled
  )
  run, (x, y) = _Engine(planned), _data()
  run.train(x, y, steps)  # Momentum would move pruned weights.
  before = run.engine.read_weights()
  masks = run.prune_half()
  for _ in range(steps):
    run.train(x, y, 1)
    run.assert_zeros(masks)
  for mask, old, new in zip(masks, before, run.engine.read_weights()):
    assert (old[mask] != new[mask]).any()
  return planned


@pytest.mark.parametrize(
  'name',
  [
    *('SGD', 'Adam', 'AdamW', 'Nadam', 'RMSprop', 'Adagrad', 'Adadelta'),
    *('Adamax', 'Lion', 'Adafactor', 'Lamb', 'Ftrl', 'Muon'),
    'ScheduleFreeAdamW',
  ],
)
def test_pruned_weights_stay_zero_under_each_optimizer(name):
  _exact(getattr(optimizers, name)(0.01))


@pytest.mark.parametrize(
  'arguments',
  [
    {'weight_decay': 0.1},
    {'clipnorm': 0.1},
    {'use_ema': True, 'ema_overwrite_frequency': 2},
    {'gradient_accumulation_steps': 2},
    {'nesterov': True},
  ],
  ids=lambda arguments: next(iter(arguments)),
)
def test_pruned_weights_stay_zero_under_each_option(arguments):
  _exact(optimizers.SGD(0.05, momentum=0.9, **arguments), steps=4)


def test_pruned_weights_stay_zero_under_a_constraint():
  def model():
    built = keras_3_toys.dense()
    built.layers[1].kernel.constraint = lambda w: w + 0.1
    return built

  _exact(optimizers.SGD(0.05), model)


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_pruned_weights_stay_zero_in_mixed_precision(policy):
  def model():
    keras.config.set_dtype_policy(policy)
    try:
      return keras_3_toys.dense()
    finally:
      keras.config.set_dtype_policy('float32')

  planned = _exact(optimizers.Adam(0.01), model)
  assert planned.layers[1].compute_dtype == policy.removeprefix('mixed_')


def test_pruned_rows_of_an_embedding_stay_zero():
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [keras.layers.Embedding(20, 4), keras.layers.Flatten()]
    + [keras.layers.Dense(2)]
  )
  model.build((None, 3))
  planned = keras_3_toys.planned(
    model, tf_unilth.IterativeSparsity(0.5), optimizers.Adam(0.01)
  )
  x = np.arange(24).reshape(8, 3) % 20
  run = _Engine(planned, tf_unilth.L2Ramp(power=0))
  run.train(x, np.arange(8) % 2, 2)
  masks = run.prune_half()
  for kind in (False, True):  # With the penalty, the gradient is dense.
    run.engine.set_step_kind(kind, True)
    run.train(x, np.arange(8) % 2, 2)
    run.assert_zeros(masks)


def test_a_nan_in_the_gradient_of_a_pruned_weight_does_not_reach_it():
  model = keras.Sequential(
    [keras.layers.Input((2,)), keras.layers.Dense(1, use_bias=False)]
  )
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
  model.compile(optimizers.SGD(0.1), 'mse')
  run = _Engine(model)
  run.engine.write_masks([np.array([[True], [False]])])
  # 0 times infinity is NaN, a product with the mask would keep it.
  run.train(np.array([[0.0, 3e38]], 'float32'), np.array([[1.0]]), 1)
  (weight,) = run.engine.read_weights()
  assert weight[1, 0] == 0


@pytest.mark.parametrize('accumulated', [None, 2])
def test_the_ramp_shrinks_as_a_float64_reference(accumulated):
  """SGD with momentum, where the loss has no gradient."""
  rate, momentum, limit, steps = 0.1, 0.5, 2.0, 8
  model = keras.Sequential(
    [keras.layers.Input((3,)), keras.layers.Dense(4, use_bias=False)]
  )
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
  model.compile(
    optimizers.SGD(
      rate, momentum=momentum, gradient_accumulation_steps=accumulated
    ),
    lambda _, outputs: 0.0 * outputs,
  )
  ramp = tf_unilth.L2Ramp(power=1)
  run = _Engine(model, ramp)
  chosen = np.arange(12).reshape(3, 4) % 2 == 0
  run.engine.set_candidates([chosen])
  run.engine.set_ramp(0, 4, limit)
  run.engine.set_step_kind(True, False)
  (weight,) = run.engine.read_weights()
  expected, velocity = weight.astype(np.float64), 0.0
  gradient = 0.0
  for step in range(steps):
    gradient += limit * min(step / 4, 1) * chosen * expected
    if (step + 1) % (accumulated or 1) == 0:
      velocity = momentum * velocity - rate * gradient / (accumulated or 1)
      expected, gradient = expected + velocity, 0.0
    run.train(np.zeros((1, 3)), np.zeros((1, 4)), 1)
    np.testing.assert_allclose(
      run.engine.read_weights()[0], expected, rtol=1e-5, atol=1e-7
    )


def test_adaptive_optimizers_shrink_apart_from_the_gradient():
  rate, limit = 0.1, 2.0
  model = keras.Sequential(
    [keras.layers.Input((3,)), keras.layers.Dense(4, use_bias=False)]
  )
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
  model.compile(optimizers.Adam(rate), lambda _, outputs: 0.0 * outputs)
  run = _Engine(model, tf_unilth.L2Ramp(power=0))
  chosen = np.arange(12).reshape(3, 4) % 2 == 0
  run.engine.set_candidates([chosen])
  run.engine.set_ramp(0, 1, limit)
  run.engine.set_step_kind(True, False)
  (weight,) = run.engine.read_weights()
  run.train(np.zeros((1, 3)), np.zeros((1, 4)), 3)
  factor = np.where(chosen, (1 - rate * limit) ** 3, 1)
  np.testing.assert_allclose(
    run.engine.read_weights()[0], weight * factor, rtol=1e-5
  )


def test_an_optimizer_with_its_state_in_others_is_refused():
  model = tf_unilth.prune_low_magnitude(
    keras_3_toys.dense(), tf_unilth.IterativeSparsity(0.5)
  )
  several = optimizers.OptimizerMap(optimizers.SGD(0.1))
  model.compile(optimizers.MultiOptimizer(several), 'mse')
  with pytest.raises(ValueError, match='is a MultiOptimizer'):
    _create(model)


def test_the_files_of_an_optimizer_have_its_own_variables(tmp_path):
  planned = _exact(optimizers.SGD(0.05, momentum=0.9))
  planned.save(tmp_path / 'model.keras')
  loaded = keras.models.load_model(tmp_path / 'model.keras')
  own = planned._pruning_plan.hooks.apply.own_variables()
  assert len(loaded.optimizer.variables) == len(own)
  for before, after in zip(own, loaded.optimizer.variables, strict=True):
    np.testing.assert_array_equal(
      backend_values.read(before), backend_values.read(after)
    )
