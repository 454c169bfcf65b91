"""drift: in what another run differs, and that the same one never does."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import described_runs, interrupts, toys
from tf_unilth.resume import run_description

layers = keras.layers
_describe = described_runs.describe
_compiled = functools.partial(described_runs.compiled, keras)


def _dense(units=3, **arguments):
  return _compiled(layers.Dense(units, **arguments))


def _rate(optimizer):
  return _compiled(layers.Dense(1), optimizer=optimizer)


def _loss(loss, **compiled):
  return _compiled(layers.Dense(1), loss=loss, **compiled)


def _made_loss(weight):
  return lambda y_true, y_pred: weight * tf.reduce_mean(y_true - y_pred, -1)


def _penalised(y_true, y_pred, weight):
  return weight * tf.reduce_mean(y_true - y_pred, -1)


class _Short(keras.optimizers.SGD):
  """An optimizer whose `get_config` tells less than it was made with."""

  def get_config(self):
    return {'name': self.name}


class _Decay(keras.optimizers.schedules.LearningRateSchedule):
  """A schedule without `get_config`."""

  def __init__(self, rate):
    self._rate = rate

  def __call__(self, step):
    return self._rate / tf.sqrt(1.0 + tf.cast(step, tf.float32))


class _Square(keras.regularizers.Regularizer):
  """A regularizer without `get_config`."""

  def __init__(self, weight):
    self.weight = weight

  def __call__(self, kernel):
    return self.weight * tf.reduce_sum(kernel**2)


def _frozen(trainable):
  model = _dense()
  model.layers[0].trainable = trainable
  return model


def _pruned(frequency):
  schedule = tf_unilth.IterativeSparsity(0.5, begin_step=1, frequency=frequency)
  return toys.wrapped(toys.dense(), schedule)


_RUNS = {
  **described_runs.changes(keras),
  # How a model is made, two values for it, and what their difference says.
  'kernel_regularizer.l2 was 0.1': (
    lambda v: _dense(kernel_regularizer=keras.regularizers.L2(v)),
    *(0.1, 0.2),
  ),
  'kernel_regularizer.weight was 1': (
    lambda v: _compiled(layers.Dense(1, kernel_regularizer=_Square(v))),
    *(1, 2),
  ),
  'dtype was': (lambda v: _dense(dtype=v), 'float32', 'mixed_float16'),
  'trainable was True': (_frozen, True, False),
  'learning rate.optimizer was 0.1 and is now 0.02': (
    lambda v: _rate(keras.optimizers.legacy.Adam(v)),
    *(0.1, 0.02),
  ),
  'optimizer attributes.optimizer.momentum was 0.5': (
    lambda v: _rate(_Short(0.1, momentum=v)),
    *(0.5, 0.9),
  ),
  'optimizer.learning_rate._rate was 0.1': (
    lambda v: _rate(keras.optimizers.SGD(_Decay(v))),
    *(0.1, 0.2),
  ),
  'loss.from_logits was True': (
    lambda v: _loss(keras.losses.BinaryCrossentropy(from_logits=v)),
    *(True, False),
  ),
  'loss was': (_loss, 'mse', keras.losses.mean_absolute_error),
  'loss.with.weight was 1': (lambda v: _loss(_made_loss(v)), 1, 2),
  'loss.keywords.weight was 1': (
    lambda v: _loss(functools.partial(_penalised, weight=v)),
    *(1, 2),
  ),
  'loss_weights': (lambda v: _loss('mse', loss_weights=v), [1.0], [0.5]),
  'schedules.0.frequency was 2': (_pruned, 2, 3),
}


@pytest.mark.parametrize('words', _RUNS)
def test_another_run_is_told_and_the_same_one_is_not(words):
  make, one, other = _RUNS[words]
  before, again, another = (_describe(make(v)) for v in (one, one, other))
  assert run_description.between(before, again) == []
  found = run_description.between(before, another)
  assert len(found) == 1 or words.startswith('connections'), found
  assert words in found[0]


def test_names_of_monitored_metrics_may_have_numbers():
  def describe(thresholds, monitored=True):
    auc = keras.metrics.AUC(num_thresholds=thresholds)  # auc, auc_1, auc_2.
    stop = keras.callbacks.EarlyStopping(
      f'val_{auc.name}' if monitored else 'val_loss', mode='max'
    )
    return _describe(_loss('mse', metrics=['mae', auc]), stop)

  before = describe(50)
  assert run_description.between(before, describe(50)) == []
  (found,) = run_description.between(before, describe(60))
  assert 'monitored metrics.val_auc.num_thresholds was 50' in found
  assert run_description.between(describe(50, False), describe(60, False)) == []


def test_settings_of_callbacks_that_count_are_told():
  def describe(patience, *more):
    stop = keras.callbacks.EarlyStopping(patience=patience)
    return _describe(_dense(), stop, *more)

  (found,) = run_description.between(describe(3), describe(4))
  assert found == 'callbacks.0.patience was 3 and is now 4'
  without_state = keras.callbacks.LambdaCallback(), keras.callbacks.Callback()
  assert run_description.between(describe(3), describe(3, *without_state)) == []
  (found,) = run_description.between(
    describe(3),
    describe(3, keras.callbacks.LearningRateScheduler(_made_loss)),
  )
  assert 'LearningRateScheduler.0 was not given' in found


def test_a_rate_that_moved_is_compared_as_it_was_at_the_beginning():
  def begin(model, where, goes_on):
    return run_description.at_its_beginning(
      model, where, _describe(model), goes_on
    )

  model = _rate(keras.optimizers.SGD(0.1))
  before = begin(model, 'a', False)
  model.optimizer.learning_rate.assign(0.01)
  assert run_description.between(before, begin(model, 'a', True)) == []
  assert run_description.between(before, begin(model, 'b', True))
  model.compile(keras.optimizers.SGD(0.01), 'mse')
  assert run_description.between(before, begin(model, 'a', True))
  assert begin(model, 'a', False)['learning rate'] == {
    'optimizer': pytest.approx(0.01)
  }


def test_a_pruning_schedule_without_a_config_is_read_by_its_attributes():
  class Plain:
    def __init__(self):
      self.target = np.float32(0.5)

  assert run_description.schedule_settings(Plain()) == {
    'class': 'Plain',
    'target': 0.5,
  }


def test_the_files_of_a_resumed_run_are_those_of_one_left_alone(tmp_path):
  def train(name, *more, **fit):
    keras.utils.set_random_seed(1)
    model = toys.compiled_for_labels(toys.dense())
    resume = tf_unilth.CheckpointAndResume(tmp_path / name, verbose=0)
    toys.fit(
      model, resume, *more, epochs=3, shuffle=False, **fit
    )  # With validation data.
    files = (tmp_path / name).rglob('*')
    return {file.name: file.read_bytes() for file in files if file.is_file()}

  whole = train('whole')
  with pytest.raises(KeyboardInterrupt):
    train('died', interrupts.At(2 * toys.STEPS + 1, _interrupt))
  resumed = train('died', initial_epoch=2)  # Its data begin later.
  assert whole and resumed == whole


def _interrupt():
  raise KeyboardInterrupt
