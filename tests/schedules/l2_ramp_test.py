"""L2Ramp: its shape, its strength, and that it does what A says."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.ramp_variables import RampVariables
from tf_unilth.schedules import l2_ramp
from tf_unilth.schedules.l2_ramp import L2Ramp


@pytest.mark.parametrize('power', [0, 1, 2, 2 / 3])
def test_the_ramp_meets_its_equation(power):
  ramp = L2Ramp(limit=0.3, power=power)
  for step in (0, 1, 7, 10, 25):
    expected = 0.3 * min(step / 10, 1) ** power
    assert float(ramp.coefficient(step, 0.3, 10)) == pytest.approx(expected)


@pytest.mark.parametrize('interval', [1, 3])
@pytest.mark.parametrize('power', [0, 1, 2, 2 / 3])
def test_the_graph_computes_the_same_ramp(power, interval):
  increment = 0.03 if interval > 1 else None
  ramp = L2Ramp(0.3, power, increment, interval)
  steps = ramp.ramp_steps(round_steps=20)
  variables = RampVariables()
  variables.set_numbers(7, steps, 0.3)
  for step in range(2 * steps):
    of_graph = variables.l2_lambda(ramp, tf.constant(7 + step, tf.int64))
    assert of_graph.dtype == tf.float32
    plain = ramp.coefficient(step, 0.3, steps)
    np.testing.assert_allclose(plain, of_graph, rtol=3e-7)


def test_stairs_are_those_of_the_dlth_code():
  ramp = L2Ramp(limit=1.0, increment=1e-2, interval=5)
  assert ramp.ramp_steps(round_steps=10_000) == 500
  found = [float(ramp.coefficient(t, 1.0, 500)) for t in (4, 5, 9, 10, 499)]
  np.testing.assert_allclose(found, [0, 0.01, 0.01, 0.02, 0.99], rtol=1e-6)


def test_stairs_that_no_training_climbs_are_an_error():
  with pytest.raises(ValueError, match='increment must be at least limit'):
    L2Ramp(limit=1e300, increment=1e-300)
  assert L2Ramp(limit=1.0, increment=1e-9).ramp_steps(10) == 10**9


def test_the_limit_gives_the_strength():
  sizes, shape = np.array([1.0, 2.0]), np.array([0.5, 1.0])
  limit = l2_ramp.limit_for(3.0, sizes, shape, steps=100)
  assert limit * np.mean(sizes * shape) * 100 == pytest.approx(3.0)
  assert l2_ramp.limit_for(3.0, 0 * sizes, shape, steps=100) == 0


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'limit': -1}, 'limit must be None or a finite number'),
    ({'limit': math.nan}, 'limit .* but is nan'),
    ({'power': -1}, 'power must be a finite number >= 0, but is -1'),
    ({'limit': 1, 'increment': 0}, 'increment must be None or a finite numb'),
    ({'increment': 0.1}, 'increment=0.1 needs a limit > 0'),
    ({'interval': 0}, 'interval must be a whole number >= 1'),
    ({'limit': '0.1'}, "limit must be None or .* but is '0.1'"),
    ({'limit': np.ones(2)}, 'limit must be None or a finite number >= 0, but'),
    ({'limit': 10**400}, 'limit must be None or a finite number >= 0, but'),
    ({'power': None}, 'power must be a finite number >= 0, but is None'),
    ({'limit': 1, 'increment': [1]}, 'increment must be None or a finite numb'),
    ({'limit': 1, 'interval': True}, 'interval must .* but is True'),
  ],
)
def test_arguments_out_of_range_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    L2Ramp(**arguments)


class _Norms(keras.callbacks.Callback):
  """Records the norms of the first round's candidates and of the rest."""

  def __init__(self):
    super().__init__()
    self.candidates, self.others = [], []

  def on_train_batch_end(self, batch, logs=None):
    run = self.model.layers[1].pruning_schedule.run
    if run.state.stage == 2 and run.state.round == 0:
      chosen = [c.numpy() != 0 for c in run.ramp.candidates]
      weights = toys.kernels(self.model)

      def pick(inside):
        return np.concatenate([w[c == inside] for w, c in zip(weights, chosen)])

      self.candidates.append(np.linalg.norm(pick(True)))
      self.others.append(np.linalg.norm(pick(False)))


@pytest.mark.parametrize(
  'optimizer',
  [
    pytest.param(keras.optimizers.SGD(0.02), marks=pytest.mark.long),
    keras.optimizers.SGD(0.002, momentum=0.9),
    pytest.param(keras.optimizers.legacy.SGD(0.02), marks=pytest.mark.long),
    pytest.param(keras.optimizers.Adam(0.001), marks=pytest.mark.long),
    pytest.param(keras.optimizers.legacy.Adam(0.001), marks=pytest.mark.long),
  ],
  ids=['sgd', 'momentum', 'legacy_sgd', 'adam', 'legacy_adam'],
)
def test_candidates_shrink_by_exp_a_and_the_others_do_not(optimizer):
  keras.utils.set_random_seed(1)
  model = tfmot.sparsity.keras.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  # Nothing to learn, so that the loss does not disturb the shrinking.
  model.compile(optimizer, lambda _, outputs: 0.0 * outputs)
  norms = _Norms()
  callback = tf_unilth.UniLTH(verbose=0, finetune_fraction=0.2)
  toys.fit(model, callback, norms, epochs=60)
  first, last = norms.candidates[0], norms.candidates[-1]
  assert len(norms.candidates) > 300
  # A = 3 by default. With momentum A is a first-order figure.
  assert math.log(first / last) == pytest.approx(3.0, rel=0.1)
  assert norms.others[-1] == norms.others[0]


def test_an_unstable_limit_is_capped():
  keras.utils.set_random_seed(1)
  model = toys.wrapped(
    toys.dense(),
    tf_unilth.IterativeSparsity(0.5, rounds=1),
    keras.optimizers.SGD(0.1, momentum=0.9),
  )
  ramp = L2Ramp(limit=1e6)
  history = toys.fit(model, tf_unilth.UniLTH(ramp=ramp, verbose=0), epochs=9)
  assert np.isfinite(history.history['loss']).all()
  # Half of what is stable: learning rate * lambda = 1 + momentum.
  assert max(history.history['l2_lambda']) <= 19.0
