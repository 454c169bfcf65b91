"""StagedLearningRate: its shapes, restarts and arguments."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
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


@pytest.mark.parametrize(
  ('epochs', 'falls'), [(90, (30, 60, 80)), (23, (5, 10))]
)
def test_steps_fall_where_they_were_published(epochs, falls):
  # At shares that no binary fraction meets.
  per_epoch = 391
  rate = tf_unilth.StagedLearningRate(
    0.4,
    'step',
    epochs * per_epoch,
    boundaries=[epoch / epochs for epoch in falls],
  )
  for number, epoch in enumerate(falls):
    before, after = epoch * per_epoch - 1, epoch * per_epoch
    assert float(rate(before)) == pytest.approx(0.4 * 0.1**number)
    assert float(rate(after)) == pytest.approx(0.04 * 0.1**number)


@pytest.mark.parametrize('decay', ['cosine', 'step'])
def test_each_restart_warms_up_and_decays_again(decay):
  boundaries = [0.5] if decay == 'step' else []
  rate, plain = (
    tf_unilth.StagedLearningRate(
      0.1, decay, 100, warmup=warmup, boundaries=boundaries
    )
    for warmup in (0.2, 0.0)
  )
  for begin, steps in ((0, 100), (70, 30)):
    for schedule in (rate, plain):
      schedule.restart(begin, steps)
    for done in range(steps + 5):
      warm = min(1, (done + 1) / (0.2 * steps))
      expected = warm * float(plain(begin + done))
      assert float(rate(begin + done)) == pytest.approx(expected, abs=1e-8)


def test_it_meets_keras_cosine_decay():
  ours = tf_unilth.StagedLearningRate(0.1, decay_steps=77)
  theirs = keras.optimizers.schedules.CosineDecay(0.1, 77)
  for step in range(0, 78, 7):
    assert float(ours(step)) == pytest.approx(float(theirs(step)), abs=1e-7)


def test_an_optimizer_with_it_can_be_copied():
  rate = tf_unilth.StagedLearningRate(
    0.1, 'step', decay_steps=5, warmup=0.2, boundaries=(0.4,), factor=0.5
  )
  copy = keras.optimizers.SGD.from_config(
    keras.optimizers.SGD(rate).get_config()
  )
  assert copy._learning_rate.get_config() == rate.get_config()


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'initial_learning_rate': 0}, 'initial_learning_rate must be a fin'),
    ({'initial_learning_rate': math.nan}, 'but is nan'),
    ({'decay': 'square'}, "decay must be one of .* but is 'square'"),
    ({'decay_steps': 0}, 'decay_steps must be None or a whole number >= 1'),
    ({'warmup': 1.0}, r'warmup must be in \[0, 1\), but is 1.0'),
    ({'factor': 0}, r'factor must be in \(0, 1\), but is 0'),
    ({'decay': 'step'}, "boundaries must be given with decay='step'"),
    ({'boundaries': [0.5]}, "are \\(0.5,\\) with 'cosine'"),
    ({'decay': 'step', 'boundaries': [0.5, 0.5]}, 'must increase within'),
    ({'decay': 'step', 'boundaries': [0.5, 1]}, r'boundaries must be in \(0'),
    ({'decay': 'step', 'boundaries': [0.5, 'x']}, 'boundaries must be a numb'),
    ({'boundaries': None}, 'boundaries must be numbers, but are None'),
    ({'initial_learning_rate': '0.1'}, "initial_learning_rate .* but is '0.1'"),
    ({'initial_learning_rate': 10**400}, 'initial_learning_rate must be a fin'),
    ({'decay_steps': '3'}, "decay_steps must .* but is '3'"),
    ({'decay_steps': 2.5}, 'decay_steps must .* but is 2.5'),
    ({'decay_steps': 2**63}, r'decay_steps must .* and < 2\^63'),
    ({'decay': tf.constant(1.0)}, 'decay must be one of'),
  ],
)
def test_arguments_out_of_range_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.StagedLearningRate(**{'initial_learning_rate': 0.1, **arguments})


def test_its_configuration_is_of_plain_numbers():
  rate = tf_unilth.StagedLearningRate(np.float32(0.1), decay_steps=np.int64(3))
  assert json.loads(json.dumps(rate.get_config())) == rate.get_config()
