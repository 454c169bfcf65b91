"""StagedLearningRate: its shapes, restarts and arguments."""

import math

import pytest
import tf_keras as keras

import tf_unilth


@pytest.mark.parametrize(
  'decay, half', [('cosine', 0.5), ('linear', 0.5), ('constant', 1.0)]
)
def test_the_decay_goes_over_the_stage(decay, half):
  rate = tf_unilth.StagedLearningRate(0.2, decay, decay_steps=100)
  assert float(rate(0)) == pytest.approx(0.2)
  assert float(rate(50)) == pytest.approx(0.2 * half)
  rate.restart(begin=80, steps=20)
  assert float(rate(80)) == pytest.approx(0.2)
  assert float(rate(90)) == pytest.approx(0.2 * half)


def test_before_and_after_the_stage_it_stays_at_its_ends():
  rate = tf_unilth.StagedLearningRate(0.2, decay_steps=10)
  rate.restart(begin=10, steps=10)
  assert float(rate(5)) == pytest.approx(0.2)
  assert float(rate(99)) == pytest.approx(0.0, abs=1e-8)


def test_without_a_length_it_is_constant():
  rate = tf_unilth.StagedLearningRate(0.2)
  assert float(rate(1000)) == pytest.approx(0.2)


def test_it_meets_keras_cosine_decay():
  ours = tf_unilth.StagedLearningRate(0.1, decay_steps=77)
  theirs = keras.optimizers.schedules.CosineDecay(0.1, 77)
  for step in range(0, 78, 7):
    assert float(ours(step)) == pytest.approx(float(theirs(step)), abs=1e-7)


def test_an_optimizer_with_it_can_be_copied():
  rate = tf_unilth.StagedLearningRate(0.1, 'linear', decay_steps=5)
  copy = keras.optimizers.SGD.from_config(
    keras.optimizers.SGD(rate).get_config()
  )
  assert copy._learning_rate.get_config() == rate.get_config()


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'initial_learning_rate': 0}, 'initial_learning_rate must be a fin'),
    ({'initial_learning_rate': math.nan}, 'but is nan'),
    ({'decay': 'step'}, "decay must be one of .* but is 'step'"),
    ({'decay_steps': 0}, 'decay_steps must be None or >= 1, but is 0'),
  ],
)
def test_arguments_out_of_range_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.StagedLearningRate(**{'initial_learning_rate': 0.1, **arguments})
