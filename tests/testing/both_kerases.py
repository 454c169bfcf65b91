"""Checks that two Kerases accept what was made before they were imported.

  python -m tests.testing.both_kerases tf_keras keras

One program, since importing the two takes longest: it imports them in the order
of its arguments.
"""

import copy
import importlib
import os
import pickle
import re
import sys
import tempfile
from typing import Any

import numpy as np

import tf_unilth


def _rate() -> tf_unilth.StagedLearningRate:
  return tf_unilth.StagedLearningRate(0.1, decay_steps=100)


def _callbacks() -> tuple[Any, Any]:
  return (
    tf_unilth.TicketEarlyStopping('loss', mode='max', patience=1),
    tf_unilth.TicketCheckpoint('model.weights.h5', save_weights_only=True),
  )


RATE, CALLBACKS, UNUSED = _rate(), _callbacks(), _callbacks()
TICKETS = tf_unilth.LTH(), tf_unilth.DLTH(), tf_unilth.UniLTH()
SCHEDULE = tf_unilth.IterativeSparsity(0.5, begin_step=1)
FIXED, PICKLED = tf_unilth.FixedMask(), pickle.dumps(SCHEDULE)
GROUP = SCHEDULE.group


def _check_schedules(keras: Any) -> None:
  """Checks that tfmot takes those that were made before it was imported."""
  import tensorflow_model_optimization as tfmot

  for made in (
    SCHEDULE,
    FIXED,
    tf_unilth.IterativeSparsity(0.5, begin_step=1),
    tf_unilth.FixedMask(),
    pickle.loads(PICKLED),
    copy.deepcopy(SCHEDULE),
    SCHEDULE.with_target(0.1),
  ):
    assert isinstance(made, tfmot.sparsity.keras.PruningSchedule)
    assert isinstance(made, tf_unilth.IterativeSparsity)
    assert bool(made(1)[0]) == (made.begin_step == 1)
  assert type(FIXED) is type(tf_unilth.FixedMask())
  assert isinstance(FIXED, tf_unilth.FixedMask)
  assert pickle.loads(PICKLED).group == SCHEDULE.group == GROUP
  dense = keras.layers.Dense
  model = keras.Sequential([dense(4, input_shape=(4,)) for _ in range(2)])
  for prune in (tfmot.sparsity.keras, tf_unilth):
    wrapped = prune.prune_low_magnitude(model, SCHEDULE)
    assert all(layer.pruning_schedule is SCHEDULE for layer in wrapped.layers)


def _steps(rate: Any, keras: Any) -> list[float]:
  """Returns how far a weight moves in steps before and after a restart."""
  model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
  model.build((None, 1))
  model.set_weights([np.zeros((1, 1))])
  # Its gradient is -1 everywhere.
  model.compile(
    keras.optimizers.SGD(rate), lambda y_true, y_pred: y_true - y_pred
  )
  x = np.ones((1, 1), 'float32')

  def step() -> float:
    before = model.get_weights()[0].item()
    model.fit(x, x, verbose=0)
    return round(model.get_weights()[0].item() - before, 5)

  steps = [step(), step()]
  rate.restart(begin=2, steps=1)
  steps += [step(), step()]
  copied = keras.optimizers.SGD.from_config(model.optimizer.get_config())
  assert copied._learning_rate.get_config() == rate.get_config()
  rate.restart(begin=0, steps=100)
  return steps


def _check_rates(keras: Any) -> None:
  for rate in (RATE, _rate()):
    schedules = keras.optimizers.schedules
    assert isinstance(rate, schedules.LearningRateSchedule)
    assert type(rate) is tf_unilth.StagedLearningRate
    saved = keras.saving.serialize_keras_object(rate)
    assert saved['registered_name'] == 'tf_unilth>StagedLearningRate'
    loaded = keras.saving.deserialize_keras_object(saved)
    assert type(loaded) is tf_unilth.StagedLearningRate
    assert _steps(rate, keras) == [0.1, 0.09998, 0.1, 0.0]


def _model(keras: Any) -> Any:
  model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
  model.compile('sgd', 'mse')
  return model


def _epochs(model: Any, *callbacks: Any) -> int:
  """Returns how many epochs of four a model is trained."""
  x = np.ones((4, 1), 'float32')
  fitted = model.fit(x, x, epochs=4, verbose=0, callbacks=callbacks)
  return len(fitted.history['loss'])


def _check_class(callback: Any, keras: Any, name: str) -> None:
  assert isinstance(callback, getattr(keras.callbacks, name)), type(callback)
  assert isinstance(callback, getattr(tf_unilth, type(callback).__name__))


def _check_copies(callback: Any) -> None:
  for copied in (
    copy.copy(callback),
    copy.deepcopy(callback),
    pickle.loads(pickle.dumps(callback)),
  ):
    assert type(copied) is type(callback)
    assert vars(copied).keys() == vars(callback).keys()


def _check_stopping(keras: Any) -> None:
  for stopping in (CALLBACKS[0], _callbacks()[0]):
    assert _epochs(_model(keras), stopping) == 2
    _check_class(stopping, keras, 'EarlyStopping')


def _check_callbacks(keras: Any) -> None:
  for callback in _callbacks():
    _check_copies(callback)
  # It asks for hooks before a model is set.
  keras.callbacks.CallbackList(list(UNUSED))
  for stopping, checkpoint in (CALLBACKS, _callbacks()):
    model = tf_unilth.prune_low_magnitude(
      _model(keras), tf_unilth.IterativeSparsity(0.0)
    )
    model.compile('sgd', 'mse')
    _epochs(model, tf_unilth.UniLTH(verbose=0), stopping, checkpoint)
    os.remove('model.weights.h5')
    _check_class(checkpoint, keras, 'ModelCheckpoint')


def _check_tickets(keras: Any, message: str) -> None:
  """Checks the hooks of a Keras, and what an unprepared model is told."""
  model = _model(keras)
  for callback in (*TICKETS, tf_unilth.UniDLTH()):
    listed = keras.callbacks.CallbackList([callback], add_history=True)
    # All but those of a run.
    for name in dir(keras.callbacks.Callback):
      if name.startswith(('on_test', 'on_predict')):
        getattr(listed, name)(*((0, {}) if 'batch' in name else ({},)))
  try:
    _epochs(model, tf_unilth.LTH())
  except ValueError as error:
    assert re.match(message, str(error)), error
  else:
    raise AssertionError('accepted')


def main(*order: str) -> None:
  """Imports `keras` and `tf_keras` in an order, and checks all of each."""
  os.chdir(tempfile.mkdtemp())
  assert round(float(RATE(50)), 6) == 0.05
  for callback in CALLBACKS:
    _check_copies(callback)
  for name in order:
    keras = importlib.import_module(name)
    _check_stopping(keras)
    if order[0] == name == 'keras':
      assert 'tf_keras' not in sys.modules
    if name == 'tf_keras':
      _check_schedules(keras)
    _check_rates(keras)
    _check_callbacks(keras)
    is_3 = name == 'keras'
    _check_tickets(
      keras,
      "model 'sequential.*' was not pas" if is_3 else 'model has no wrapped la',
    )
  # An object goes from one Keras to the other and back.
  for name in ('keras', 'tf_keras', 'keras'):
    _check_stopping(importlib.import_module(name))
  try:
    tf_unilth.TicketEarlyStopping(patiense=3)
  except TypeError as error:
    assert 'patiense' in str(error)
  else:
    raise AssertionError('accepted')


if __name__ == '__main__':
  main(*sys.argv[1:])
