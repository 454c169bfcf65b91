"""What every engine must do, on each engine that there is.

An engine is added by a row in `ENGINES`: a class that builds a model of two
kernels and trains it by single steps.
"""

import math
from typing import Any

import keras as keras_3
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import fake_engine, keras_3_toys, toys
from tf_unilth.engines.keras3.engine import Keras3Engine
from tf_unilth.engines.tfmot.engine import TfmotEngine

RATE, MOMENTUM = 0.05, 0.9


class Fake:
  """The engine in NumPy."""

  def __init__(self, rate: Any = RATE, model: Any = None):
    schedule = tf_unilth.IterativeSparsity(0.5)
    self.model = model or fake_engine.FakeModel(schedule, rate=rate)
    self.engine = fake_engine.FakeEngine(self.model)

  def train(self, steps: int = 1) -> None:
    for _ in range(steps):
      self.engine.train()

  def weights(self) -> list[np.ndarray]:
    return [weight.copy() for weight in self.model.weights]

  def set_kernel(self, value: float) -> None:
    self.model.weights[0][0, 0] = value

  def reload(self, tmp_path: Any) -> 'Fake':
    return Fake(model=self.model.copy())


class Tfmot:
  """A tf_keras model in tfmot's wrappers, trained by `train_on_batch`."""

  def __init__(self, rate: Any = RATE, model: Any = None):
    if model is None:
      keras.utils.set_random_seed(0)
      optimizer = keras.optimizers.SGD(rate, momentum=MOMENTUM)
      schedule = tf_unilth.IterativeSparsity(0.5)
      model = toys.wrapped(toys.dense(), schedule, optimizer)
    self.model = model
    self.engine = TfmotEngine(model, tf_unilth.DLTH(verbose=0))

  def train(self, steps: int = 1) -> None:
    x, y = toys.data()
    for _ in range(steps):
      self.model.train_on_batch(x, y)

  def weights(self) -> list[np.ndarray]:
    return [w.numpy() for w in self.engine._layers.model_weights]

  def set_kernel(self, value: float) -> None:
    kernel = self.engine.kernels[0].weight
    kernel.assign(np.full(kernel.shape, value, np.float32))

  def reload(self, tmp_path: Any) -> 'Tfmot':
    self.model.save(tmp_path / 'model.keras')
    with tfmot.sparsity.keras.prune_scope():
      loaded = keras.models.load_model(tmp_path / 'model.keras')
    return Tfmot(model=loaded)


class Keras3:
  """A Keras 3 model on the backend of the process."""

  def __init__(self, rate: Any = RATE, model: Any = None):
    if model is None:
      keras_3.utils.set_random_seed(0)
      optimizer = keras_3.optimizers.SGD(rate, momentum=MOMENTUM)
      schedule = tf_unilth.IterativeSparsity(0.5)
      model = keras_3_toys.planned(keras_3_toys.dense(), schedule, optimizer)
    self.model = model
    self.engine = Keras3Engine(model, tf_unilth.DLTH(verbose=0))

  def train(self, steps: int = 1) -> None:
    x, y = toys.data()
    for _ in range(steps):
      self.model.train_on_batch(x, y)

  def weights(self) -> list[np.ndarray]:
    return self.model.get_weights()

  def set_kernel(self, value: float) -> None:
    kernel = self.engine.kernels[0].variable
    kernel.assign(np.full(kernel.shape, value, np.float32))


ENGINES = {
  'fake': Fake,
  'tfmot': Tfmot,
  'keras3': pytest.param(Keras3, marks=pytest.mark.keras3),
}


class Run:
  """A run that wants nothing but to be told."""

  needs_training = True
  rewinds = False
  released = 0

  def restore_masks(self) -> None:
    pass

  def on_optimizer_replaced(self, iterations: int) -> None:
    pass

  def release(self) -> None:
    self.released += 1


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def make(request):
  return request.param


def _begin(subject, ramp=None, arms=True):
  """Does what a run does before its first step; returns its state."""
  state, is_new = subject.engine.attach_state()
  subject.engine.find_optimizer(True)
  subject.engine.prepare(ramp)
  if arms:
    subject.engine.arm(Run())
    subject.engine.set_step_kind(False, True)
  return state, is_new


def _half(subject):
  """Returns masks that prune half of each kernel."""
  rng = np.random.default_rng(3)
  return [rng.random(k.shape) < 0.5 for k in subject.engine.kernels]


def test_kernels_have_names_shapes_schedules_and_structures(make):
  engine = make().engine
  assert [kernel.shape for kernel in engine.kernels] == [(36, 16), (16, 2)]
  assert len({kernel.name for kernel in engine.kernels}) == 2
  for kernel in engine.kernels:
    assert isinstance(kernel.schedule, tf_unilth.IterativeSparsity)
    assert kernel.structure.min_units_kept == 1


def test_weights_and_masks_are_read_as_they_are(make):
  subject = make()
  _begin(subject)
  weights, masks = subject.engine.read_weights(), subject.engine.read_masks()
  for kernel, weight, mask in zip(
    subject.engine.kernels, weights, masks, strict=True
  ):
    assert weight.shape == mask.shape == kernel.shape
    assert (weight.dtype, mask.dtype) == (np.float32, bool)
    assert mask.all() and weight.any()
  subject.train()
  for before, after in zip(weights, subject.engine.read_weights()):
    assert not np.array_equal(before, after)


def test_written_masks_are_read_back_and_zero_their_weights(make):
  subject = make()
  _begin(subject)
  before, masks = subject.engine.read_weights(), _half(subject)
  subject.engine.write_masks(masks)
  for read, mask, old, new in zip(
    subject.engine.read_masks(), masks, before, subject.engine.read_weights()
  ):
    np.testing.assert_array_equal(read, mask)
    np.testing.assert_array_equal(new, np.where(mask, old, 0))


def test_pruned_weights_stay_zero_in_training_and_others_train(make):
  subject = make()
  _begin(subject)
  subject.train(3)  # Momentum would move them.
  masks = _half(subject)
  subject.engine.write_masks(masks)
  subject.engine.clear_slots(masks)
  before = subject.engine.read_weights()
  for _ in range(3):
    subject.train()
    for mask, weight in zip(masks, subject.engine.read_weights()):
      assert not weight[~mask].any()
  for mask, old, new in zip(masks, before, subject.engine.read_weights()):
    assert (old[mask] != new[mask]).mean() > 0.5


def test_a_rewind_restores_every_bit_and_the_counter(make):
  subject = make()
  _begin(subject)
  subject.train(2)
  values, weights = subject.engine.read_variables(), subject.weights()
  subject.train(3)
  assert subject.engine.read_variables() != values
  later = subject.weights()
  assert subject.engine.iterations() == 5
  subject.engine.write_variables(values)
  assert subject.engine.read_variables() == values
  assert subject.engine.iterations() == 2
  # So does the training after it.
  subject.train(3)
  for before, after in zip(later, subject.weights(), strict=True):
    np.testing.assert_array_equal(before, after)
  found = subject.engine.weights_in(values)
  for before, after in zip(weights, found, strict=True):
    np.testing.assert_array_equal(before, after)
  again = subject.engine.weights_in(values)
  assert np.shares_memory(found[0], again[0])  # No copies.


def test_the_state_is_one_object(make):
  subject = make()
  state, is_new = _begin(subject)
  assert is_new
  again, is_new = subject.engine.attach_state()
  assert again is state and not is_new


# A file of a Keras 3 model is plain Keras: it has no state of a run.
@pytest.mark.parametrize('make', [Fake, Tfmot])
def test_the_state_is_saved_with_the_model(make, tmp_path):
  subject = make()
  state, _ = _begin(subject)
  state.reset(1)
  state.stage, state.best, state.plateau_epoch = 2, 0.25, 7
  values = subject.engine.read_variables()
  state.snapshots[0].take(values, 4)
  subject.engine.write_masks(_half(subject))
  loaded = subject.reload(tmp_path)
  state, is_new = loaded.engine.attach_state()
  assert is_new and (state.stage, state.best, state.plateau_epoch) == (
    2,
    0.25,
    7,
  )
  assert state.snapshots[0].epoch == 4
  assert state.snapshots[0].values == values
  for before, after in zip(_half(subject), loaded.engine.read_masks()):
    np.testing.assert_array_equal(before, after)


def test_lambda_follows_the_ramp_and_is_zero_off_it(make):
  ramp = tf_unilth.L2Ramp(power=2)
  subject = make()
  _begin(subject, ramp)
  engine = subject.engine
  assert engine.l2_lambda() == 0
  subject.train()
  engine.set_ramp(engine.iterations(), 4, 0.5)
  found = []
  for _ in range(6):
    found.append(engine.l2_lambda())
    subject.train()
  expected = [0.5 * min(t / 4, 1) ** 2 for t in range(6)]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  engine.set_ramp(0, 1, 0.0)
  assert engine.l2_lambda() == 0
  without = make()
  _begin(without)
  without.engine.set_ramp(0, 1, 0.5)
  assert without.engine.l2_lambda() == 0


def test_only_candidates_shrink_while_the_ramp_is_on(make):
  def train(on):
    subject = make()
    _begin(subject, tf_unilth.L2Ramp(power=0))
    engine = subject.engine
    chosen = _half(subject)
    engine.set_candidates(chosen)
    engine.set_ramp(0, 1, 2.0)
    engine.set_step_kind(on, True)
    subject.train()
    return chosen, engine.read_weights()

  chosen, ramped = train(True)
  _, plain = train(False)
  for candidates, shrunk, other in zip(chosen, ramped, plain):
    np.testing.assert_array_equal(shrunk[~candidates], other[~candidates])
    # One step of SGD: w - rate * (gradient + 2 w).
    moved = other[candidates] - shrunk[candidates]
    assert moved.all() and np.abs(moved).max() < 1


def test_a_disarmed_model_trains_by_itself(make):
  subject = make()
  _begin(subject, tf_unilth.L2Ramp(power=0))
  engine = subject.engine
  chosen = [np.ones(kernel.shape, bool) for kernel in engine.kernels]
  engine.set_candidates(chosen)
  engine.set_ramp(0, 1, 2.0)
  engine.set_step_kind(True, True)
  engine.disarm()
  engine.disarm()  # Again, as a fit that died may.
  plain = make()
  subject.train()
  _begin(plain, arms=False)
  plain.train()
  for before, after in zip(plain.weights(), subject.weights(), strict=True):
    np.testing.assert_array_equal(before, after)


def test_step_sizes_follow_the_rate_and_the_momentum(make):
  subject = make()
  _begin(subject)
  found = subject.engine.step_sizes(100)
  assert found.positions.shape == found.sizes.shape
  assert found.positions.min() > 0 and found.positions.max() < 1
  np.testing.assert_allclose(found.sizes, RATE / (1 - MOMENTUM), rtol=1e-6)
  assert found.largest_lambda == pytest.approx((1 + MOMENTUM) / RATE)


def test_a_restarted_decay_reaches_the_optimizer(make):
  rate = tf_unilth.StagedLearningRate(0.1, 'linear')
  subject = make(rate=rate)
  _begin(subject)
  engine = subject.engine
  assert isinstance(
    engine.learning_rate_schedule(), tf_unilth.StagedLearningRate
  )
  subject.train(2)
  engine.restart_decay(engine.iterations(), 10)
  sizes = engine.step_sizes(10).sizes * (1 - MOMENTUM)
  assert sizes[0] == pytest.approx(0.1)
  assert sizes[-1] == pytest.approx(0.01, abs=1e-6)
  number = make()
  _begin(number)
  assert number.engine.learning_rate_schedule() is None
  number.engine.restart_decay(0, 10)  # Without a schedule, nothing.


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(make, value):
  subject = make()
  _begin(subject)
  subject.engine.check_kernels()
  subject.engine.check_epoch({'loss': 1.0})
  subject.set_kernel(value)
  name = subject.engine.kernels[0].name
  for check in (
    subject.engine.check_kernels,
    lambda: subject.engine.check_epoch({}),
  ):
    with pytest.raises(FloatingPointError, match=name):
      check()


def test_a_loss_that_is_not_finite_is_named(make):
  subject = make()
  _begin(subject)
  with pytest.raises(FloatingPointError, match='loss is nan'):
    subject.engine.check_epoch({'loss': math.nan})


def test_a_custom_loop_is_no_fit(make):
  engine = make().engine
  assert not engine.fit.is_fit and engine.fit.callbacks == ()
  assert engine.steps_per_execution == 1
  assert not engine.end_after_other_callbacks(lambda: None)


def test_it_has_all_that_the_protocol_names(make):
  from tf_unilth.engines import engine as protocol

  named = {
    name
    for name in vars(protocol.Engine)
    if not name.startswith('_') and name not in ('fit', 'kernels')
  }
  subject = make().engine
  assert not {name for name in named if not hasattr(type(subject), name)}
  assert subject.fit is not None and subject.kernels
