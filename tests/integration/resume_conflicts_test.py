"""CheckpointAndResume beside others: locks, signals, other versions."""

import contextlib
import dataclasses
import signal

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import interrupts, toys
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.resume import (
  checkpoint_file,
  run_description,
  stop_signals,
)

pytestmark = pytest.mark.long
Resume = tf_unilth.CheckpointAndResume


class Died(Exception):
  """A `fit` that died."""


def _die():
  raise Died


# A small dense model, for what does not depend on pruning.


def _dense(optimizer='sgd', **compiled):
  keras.utils.set_random_seed(1)
  return toys.compiled_for_labels(toys.dense(), optimizer, **compiled)


def _fit(model, resume, *callbacks, **arguments):
  return toys.fit(model, resume, *callbacks, **{'epochs': 4, **arguments})


def _die_at(step, directory, **arguments):
  with pytest.raises(Died):
    model, fit = _dense(), arguments.pop('fit', {})
    resume = Resume(directory, verbose=0, **arguments)
    _fit(model, resume, interrupts.At(step, _die), **fit)


# The lock, the handlers and the last place among the callbacks.


class _Refuses(keras.callbacks.Callback):
  """A callback that raises as training begins."""

  def on_train_begin(self, logs=None):
    raise Died


@pytest.mark.parametrize('same_object', [True, False])
def test_a_fit_that_another_callback_refused_holds_no_lock(
  same_object, tmp_path
):
  before = signal.getsignal(signal.SIGINT)
  resume = Resume(tmp_path, verbose=0)
  with pytest.raises(Died) as died:  # It keeps the traceback, and all frames.
    _fit(_dense(), resume, _Refuses())
  assert signal.getsignal(signal.SIGINT) is before
  again = resume if same_object else Resume(tmp_path, verbose=0)
  _fit(_dense(), again, epochs=1)
  assert died.value is not None
  assert Resume(tmp_path, verbose=0).initial_epoch == 1


def test_two_fits_of_one_process_that_live_are_refused(tmp_path):
  def fit_inside():
    with pytest.raises(tf_unilth.DirectoryInUseError, match='this process'):
      _fit(_dense(), Resume(tmp_path, verbose=0), epochs=1)
    seen.append(1)

  seen = []
  _fit(
    _dense(),
    Resume(tmp_path, verbose=0),
    interrupts.At(2, fit_inside),
    epochs=1,
  )
  assert seen
  assert Resume(tmp_path, verbose=0).initial_epoch == 1


@pytest.mark.parametrize(
  'last', [_Refuses, lambda: interrupts.At(3, _die), None]
)
def test_a_callback_list_that_is_used_again_does_not_grow(last, tmp_path):
  model = _dense()
  given = [Resume(tmp_path, verbose=0), *([last()] if last else [])]
  callbacks = keras.callbacks.CallbackList(
    given, add_history=True, model=model, epochs=1, steps=toys.STEPS
  )
  before = [*callbacks.callbacks]
  for _ in range(2):
    with contextlib.suppress(Died):
      model.fit(*toys.data(), batch_size=8, callbacks=callbacks, verbose=0)
    assert callbacks.callbacks == before


def test_a_signal_of_a_loop_that_is_gone_goes_to_the_handler_before():
  received = []
  before = signal.signal(signal.SIGTERM, lambda *_: received.append(1))
  try:
    alive = True
    signals = stop_signals.StopSignals(lambda: alive)
    signals.install()
    alive = False
    signal.raise_signal(signal.SIGTERM)
    assert received == [1]
    assert signals.received is None
    signals.install()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Of the user, meanwhile.
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
  finally:
    signal.signal(signal.SIGTERM, before)


# Another run.


def test_other_settings_and_other_data_are_refused_by_name(tmp_path):
  def train(rate=0.05, loss='mse', x=0.0, y=0, validation=0.0, callbacks=()):
    model = _dense()
    model.compile(keras.optimizers.SGD(rate), loss)
    images, labels = toys.data()
    model.fit(
      images + np.float32(x),
      labels + y,
      batch_size=8,
      epochs=2,
      validation_data=(images + np.float32(validation), labels),
      callbacks=[Resume(tmp_path, verbose=0), *callbacks],
      verbose=0,
    )

  stop = keras.callbacks.EarlyStopping
  fall = keras.callbacks.ReduceLROnPlateau
  train(callbacks=[stop(patience=9)])
  train(
    callbacks=[interrupts.At(1, _die), stop(patience=9)]
  )  # It has no counters.
  for match, arguments in (
    (r'learning rate\.optimizer was 0\.05 and is now 0\.1', {'rate': 0.1}),
    (r"loss was 'mse' and is now 'mae'", {'loss': 'mae'}),
    (r'data contents\.digest', {'x': 1.0}),
    (r'data contents\.digest', {'y': 1}),
    (r'validation contents\.digest', {'validation': 1.0}),
    (r'patience was 9 and is now 8', {'callbacks': [stop(patience=8)]}),
    (
      'counters were EarlyStopping and are now ReduceLROnPlateau, EarlySt',
      {'callbacks': [fall(), stop(patience=9)]},
    ),
    ('EarlyStopping and are now none', {'callbacks': []}),
  ):
    given = {'callbacks': [stop(patience=9)], **arguments}
    with pytest.raises(CheckpointError, match=match):
      train(**given)


def test_checkpoints_of_other_versions(tmp_path):
  _die_at(2 * toys.STEPS + 1, tmp_path)
  (path,) = tmp_path.glob('epoch-000002-*')
  saved = checkpoint_file.read(path)

  def write(run):
    checkpoint_file.write(path, dataclasses.replace(saved, run=run))

  with pytest.raises(CheckpointError, match='version 99'):
    write({**saved.run, 'version': 99})
    _fit(_dense(), Resume(tmp_path, verbose=0))
  write(saved.run)
  with pytest.raises(CheckpointError, match='epochs was 4 and is now 5'):
    _fit(_dense(), Resume(tmp_path, verbose=0), epochs=5)
  _fit(_dense(), Resume(tmp_path, verbose=0))
  newest = max(tmp_path.glob('*.checkpoint'))
  assert checkpoint_file.read(newest).run['version'] == run_description.VERSION


class _Two(keras.Model):
  """A model whose two halves have an optimizer each."""

  def __init__(self):
    super().__init__()
    flat = keras.layers.Flatten(input_shape=(6, 6, 1))
    self.one = keras.Sequential([flat, keras.layers.Dense(1)])
    self.two = keras.Sequential([flat, keras.layers.Dense(1)])
    self.mean = keras.metrics.Mean('loss')

  def call(self, inputs):
    return self.one(inputs) + self.two(inputs)

  @property
  def metrics(self):
    return [self.mean]

  def train_step(self, data):
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    for half, optimizer in zip((self.one, self.two), self.both, strict=True):
      with tf.GradientTape() as tape:
        loss = keras.losses.mean_squared_error(y[:, None], half(x))
      weights = half.trainable_variables
      optimizer.apply_gradients(
        zip(tape.gradient(loss, weights), weights, strict=True)
      )
      self.mean.update_state(loss)
    return {'loss': self.mean.result()}


@pytest.mark.parametrize('listed', [True, False])
def test_optimizers_of_a_models_own_go_on(listed, tmp_path):
  def train(directory, *more):
    keras.utils.set_random_seed(1)
    model = _Two()
    model.build((None, 6, 6, 1))
    both = [keras.optimizers.Adam(), keras.optimizers.SGD(0.01, momentum=0.9)]
    model.compile(both if listed else 'sgd')
    model.both = both
    resume = Resume(directory, every_steps=3, verbose=0)
    history = _fit(model, resume, *more, epochs=3, validation_data=None)
    slots = [v.numpy().tobytes() for o in both for v in o.variables()]
    return [w.tobytes() for w in model.get_weights()], slots, history.history

  whole = train(tmp_path / 'whole')
  for name, step in (('epoch', 1), ('step', 5)):
    with pytest.raises(Died):
      train(tmp_path / name, interrupts.At(toys.STEPS + step, _die))
    assert train(tmp_path / name) == whole
