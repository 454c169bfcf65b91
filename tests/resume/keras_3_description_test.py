"""run_description with Keras 3: in what another run differs, and no more."""

import functools

import keras
import numpy as np
import pytest

import tf_unilth
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.resume import run_description

pytestmark = pytest.mark.keras3
layers = keras.layers


def _describe(model, *callbacks):
  return run_description.describe(
    model, callbacks, {'epochs': 3, 'steps': None}, {}, FitContext()
  )


def _compiled(*inside, optimizer='sgd', loss='mse', **compiled):
  model = keras.Sequential([layers.Input((4,)), *inside])
  model.compile(optimizer, loss, **compiled)
  return model


def _rate(optimizer):
  return _compiled(layers.Dense(1), optimizer=optimizer)


class _WithoutConfig(layers.Layer):
  """A layer that tells Keras nothing of its arguments."""

  def __init__(self, share):
    super().__init__()
    self.share, self.dense = share, layers.Dense(2)
    self.label = f'{self.name}_label'  # Another one in each model.

  def build(self, shape):
    self.dense.build(shape)

  def call(self, inputs):
    return self.share * self.dense(inputs)


class _Subclassed(keras.Model):
  def __init__(self, share):
    super().__init__()
    self.options = {'share': share, 'act': keras.ops.relu}
    self.blocks = [layers.Dense(2, activation=lambda x: x), layers.Dense(1)]

  def call(self, inputs):
    for block in self.blocks:
      inputs = block(inputs)
    return self.options['share'] * inputs


def _subclassed(share):
  model = _Subclassed(share)
  model(np.zeros((1, 4), np.float32))
  model.compile('sgd', 'mse')
  return model


def _connected(turned, factor=2.0):
  inputs = layers.Input((4,))
  found = [layers.Dense(2)(inputs), layers.Dense(2)(inputs) * factor]
  both = layers.Concatenate()(found[::-1] if turned else found)
  model = keras.Model(inputs, layers.Dense(1)(both))
  model.compile('sgd', 'mse')
  return model


class _Weighted(keras.losses.Loss):
  def __init__(self, weight):
    super().__init__()
    self._weight = weight

  def call(self, y_true, y_pred):
    return self._weight * keras.ops.mean(y_true - y_pred, -1)


def _with_another(rate):
  model = _compiled(layers.Dense(1))
  model.another = keras.optimizers.Adam(rate)
  return model


def _pruned(target, skip=()):
  model = _compiled(layers.Dense(3, name='a'), layers.Dense(2, name='b'))
  schedule = tf_unilth.IterativeSparsity(target)
  return tf_unilth.prune_low_magnitude(model, schedule, skip=skip)


_RUNS = {
  # How a model is made, two values for it, and what their difference says.
  'activation': (
    lambda v: _compiled(layers.Dense(3, activation=v)),
    *('relu', 'tanh'),
  ),
  'rate was 0.1 and is now 0.5': (
    lambda v: _compiled(layers.Dropout(v), layers.Dense(1)),
    *(0.1, 0.5),
  ),
  'connections': (_connected, False, True),
  'connections.': (functools.partial(_connected, False), 2.0, 3.0),
  'share was 0.5 and is now 0.25': (
    lambda v: _compiled(_WithoutConfig(v)),
    *(0.5, 0.25),
  ),
  'options.share': (_subclassed, 0.5, 0.25),
  'learning rate.optimizer was 0.1 and is now 0.01': (
    lambda v: _rate(keras.optimizers.SGD(v)),
    *(0.1, 0.01),
  ),
  'optimizer.momentum was 0.5': (
    lambda v: _rate(keras.optimizers.SGD(0.1, momentum=v)),
    *(0.5, 0.9),
  ),
  'initial_learning_rate was 0.1': (
    lambda v: _rate(keras.optimizers.SGD(tf_unilth.StagedLearningRate(v))),
    *(0.1, 0.2),
  ),
  'another': (_with_another, 0.1, 0.2),
  'loss._weight was 1': (
    lambda v: _compiled(layers.Dense(1), loss=_Weighted(v)),
    *(1, 2),
  ),
  'schedules.0.target_sparsity was 0.5': (_pruned, 0.5, 0.6),
  'schedule': (functools.partial(_pruned, 0.5), (), ('b',)),
}


@pytest.mark.parametrize('words', _RUNS)
def test_another_run_is_told_and_the_same_one_is_not(words):
  make, one, other = _RUNS[words]
  before, again, another = (_describe(make(v)) for v in (one, one, other))
  assert run_description.between(before, again) == []
  found = run_description.between(before, another)
  assert len(found) == 1 or words.startswith(('connections', 'share')), found
  assert any(words in one for one in found)


def test_settings_of_callbacks_that_count_are_told():
  def describe(patience, reused=False):
    stop = keras.callbacks.EarlyStopping('loss', patience=patience)
    model = _rate(keras.optimizers.SGD(0.1))
    if reused:  # Keras has chosen the operation, and the sign of min_delta.
      stop.set_model(model)
      stop.min_delta = 0.5
      stop._set_monitor_op()
    else:
      stop.min_delta = 0.5
    return _describe(model, stop)

  (found,) = run_description.between(describe(3), describe(4))
  assert found == 'callbacks.0.patience was 3 and is now 4'
  assert run_description.between(describe(3), describe(3, True)) == []
