"""CheckpointAndResume in `fit`: what goes on, and what is refused."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.stress import torture_run
from tests.testing import toys
from tf_unilth.files import checksummed_file
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.resume import (
  checkpoint_file,
  random_state,
  run_description,
  stop_signals,
)

pytestmark = pytest.mark.long

Resume = tf_unilth.CheckpointAndResume


class _At(keras.callbacks.Callback):
  """Does something at the end of one of all steps of a `fit`, from 1."""

  _supports_tf_logs = True

  def __init__(self, step, do):
    super().__init__()
    self._left, self._do = step, do

  def on_train_batch_end(self, batch, logs=None):
    self._left -= 1
    if not self._left:
      self._do()


class Died(Exception):
  """A `fit` that died."""


def _die():
  raise Died


def _case(method, optimizer, dataset=False, every_steps=None):
  return {
    'method': method,
    'optimizer': optimizer,
    'dataset': dataset,
    'every_steps': every_steps,
  }


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
    _fit(model, resume, _At(step, _die), **fit)


def _state(model):
  return [value.tobytes() for value in toys.training_state(model)]


# Going on.


@pytest.mark.parametrize(
  ('case', 'died_at'),
  [
    (_case('unilth', 'adam'), 20),  # In stage 1: its snapshot must survive.
    (_case('unidlth', 'sgd', True, 5), 46),  # In a ramp, between two epochs.
    (_case('lth', 'sgd', False, 3), 5),  # The weights at step 0 must survive.
    (_case('gmp', 'adam', False, 3), 44),
  ],
)
def test_a_run_that_died_ends_bit_identical(case, died_at, tmp_path):
  whole, history = torture_run.train(case, tmp_path / 'whole')
  with pytest.raises(Died):
    torture_run.train(case, tmp_path / 'died', _At(died_at, _die))
  seen = toys.Spy() if case['method'] == 'unilth' else _At(0, _die)
  resumed, resumed_history = torture_run.train(case, tmp_path / 'died', seen)
  if case['method'] == 'unilth':
    assert len(seen.batches) == (10 - 2) * toys.STEPS  # Not from its start.
  assert torture_run.hashes(whole, history) == torture_run.hashes(
    resumed, resumed_history
  )
  # Once more: it is finished, and nothing is trained.
  again, again_history = torture_run.train(
    case, tmp_path / 'died', _At(1, _die)
  )
  assert torture_run.hashes(whole, history) == torture_run.hashes(
    again, again_history
  )


def test_the_weights_that_a_ticket_is_rewound_to_survive(tmp_path):
  def train(*more):
    keras.utils.set_random_seed(1)
    model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
    ticket = tf_unilth.LTH(verbose=0)
    _fit(model, ticket, Resume(tmp_path, verbose=0), *more, epochs=6)
    return ticket.rewind_weights

  with pytest.raises(Died):
    train(_At(5 * toys.STEPS + 1, _die))
  assert train() is not None  # Rewound before it died.


class _Sequence(keras.utils.Sequence):
  """Batches with noise; order and noise are drawn ahead, from NumPy's."""

  def __init__(self):
    self._data, self._order = toys.data(), np.random.permutation(64)

  def __len__(self):
    return toys.STEPS

  def __getitem__(self, index):
    x, y = self._data
    chosen = self._order[8 * index : 8 * index + 8]
    return x[chosen] + np.random.normal(), y[chosen]

  def on_epoch_end(self):
    self._order = np.random.permutation(64)


def _unknown_length():
  return tf.data.Dataset.from_generator(
    lambda: zip(*toys.data()),
    output_signature=(
      tf.TensorSpec((6, 6, 1), tf.float32),
      tf.TensorSpec((), tf.int64),
    ),
  ).shuffle(64)


@pytest.mark.parametrize(
  'make', [_Sequence, lambda: _unknown_length().batch(8)]
)
def test_so_does_one_on_data_of_another_kind(make, tmp_path):
  def train(directory, *more):
    model = _dense()
    resume = Resume(directory, every_steps=3, verbose=0)
    validation = _unknown_length().batch(64)
    history = model.fit(
      make(),
      epochs=4,
      validation_data=validation,
      callbacks=[resume, *more],
      verbose=0,
    )
    return _state(model), history.history

  whole = train(tmp_path / 'whole')
  with pytest.raises(Died):
    train(tmp_path / 'died', _At(2 * toys.STEPS + 5, _die))
  assert train(tmp_path / 'died') == whole


def test_what_callbacks_draw_and_set_goes_on(tmp_path):
  def train(directory, *more):
    rate = tf_unilth.StagedLearningRate(0.05)
    model = _dense(keras.optimizers.SGD(rate))

    def disturb(batch, logs):
      if model.optimizer.iterations == 5:
        rate.restart(begin=5, steps=20)
      drawn = random.random(), np.random.normal(), tf.random.normal([])
      model.layers[-1].bias.assign_add([0.1 * float(sum(drawn)), 0.0])

    noise = keras.callbacks.LambdaCallback(on_train_batch_end=disturb)
    _fit(model, Resume(directory, every_steps=3, verbose=0), noise, *more)
    return _state(model)

  whole = train(tmp_path / 'whole')
  with pytest.raises(Died):
    train(tmp_path / 'died', _At(toys.STEPS + 5, _die))
  assert train(tmp_path / 'died') == whole


def test_counters_of_keras_callbacks_go_on(tmp_path):
  def train(directory, *more):
    model = _dense(keras.optimizers.SGD(0.5))
    fall = keras.callbacks.ReduceLROnPlateau('val_loss', patience=2)
    stop = keras.callbacks.EarlyStopping('val_loss', patience=4)
    losses = toys.SetValLoss(2, 1, 3, 3, 3, 3, 3, 3)
    resume = Resume(directory, verbose=0)
    history = _fit(model, losses, resume, fall, stop, *more, epochs=9)
    return _state(model), history.history, history.epoch

  whole = train(tmp_path / 'whole')
  assert whole[2] == [0, 1, 2, 3, 4, 5]
  assert whole[1]['lr'][-1] < 0.5
  for epochs in (3, 5):
    directory = tmp_path / str(epochs)
    with pytest.raises(Died):
      train(directory, _At(epochs * toys.STEPS + 1, _die))
    assert train(directory) == whole
  assert train(directory) == whole  # Stopped early is finished, too.


def test_data_of_an_epoch_are_not_read_again(tmp_path):
  def batches(first, epochs):
    x, y = toys.data()
    for epoch in range(first, epochs):
      read.append(epoch)
      order = np.random.default_rng(epoch).permutation(64)
      for chosen in order.reshape(-1, 8):
        yield x[chosen], y[chosen]

  def train(directory, *more):
    model, resume = _dense(), Resume(directory, every_steps=3, verbose=0)
    first = resume.initial_epoch
    data = tf.data.Dataset.from_generator(
      lambda: batches(first, 4),
      output_signature=(
        tf.TensorSpec((8, 6, 6, 1), tf.float32),
        tf.TensorSpec((8,), tf.int64),
      ),
    )
    model.fit(
      data,
      epochs=4,
      steps_per_epoch=toys.STEPS,
      initial_epoch=first,
      callbacks=[resume, *more],
      verbose=0,
    )
    return _state(model)

  read = []
  whole = train(tmp_path / 'whole')
  with pytest.raises(Died):
    train(tmp_path / 'died', _At(2 * toys.STEPS + 5, _die))
  read.clear()
  assert train(tmp_path / 'died') == whole
  assert read[0] == 2


@pytest.mark.parametrize(
  ('number', 'code', 'step', 'saved'),
  [
    (signal.SIGTERM, 143, 11, (1, 3)),
    (signal.SIGINT, 130, 16, (2, 0)),  # An epoch's last step: at its end.
  ],
)
def test_a_signal_saves_and_leaves(number, code, step, saved, tmp_path):
  before = signal.getsignal(number)
  whole = _dense()
  _fit(whole, Resume(tmp_path / 'whole', verbose=0))
  handlers = []

  def interrupt():
    os.kill(os.getpid(), number)
    handlers.append(signal.getsignal(number))

  stop = _At(step, interrupt)
  with pytest.raises(SystemExit) as left:
    _fit(_dense(), Resume(tmp_path / 'died', verbose=0), stop)
  assert left.value.code == code
  assert handlers == [before]  # A second signal would stop it at once.
  assert signal.getsignal(number) is before
  resume = Resume(tmp_path / 'died', verbose=0)
  assert (resume.initial_epoch, resume.initial_step) == saved
  resumed = _dense()
  _fit(resumed, resume)
  assert _state(resumed) == _state(whole)


def test_handlers_and_lock_are_back_after_a_fit_that_died(tmp_path):
  before = signal.getsignal(signal.SIGINT)
  _die_at(3, tmp_path)
  assert signal.getsignal(signal.SIGINT) is before
  _fit(_dense(), Resume(tmp_path, verbose=0))  # Not refused.
  assert signal.getsignal(signal.SIGINT) is before


def test_a_loop_of_ones_own_goes_on(tmp_path):
  def train(directory, dies):
    model, resume = _dense(), Resume(directory, verbose=0)
    callbacks = keras.callbacks.CallbackList(
      [resume], model=model, epochs=4, steps=1
    )
    callbacks.on_train_begin()
    for epoch in range(resume.initial_epoch, 4):
      callbacks.on_epoch_begin(epoch)
      model.train_on_batch(*toys.data())
      callbacks.on_train_batch_end(0)
      if dies and epoch == 2:
        resume.on_train_end()
        return None
      callbacks.on_epoch_end(epoch, {})
    callbacks.on_train_end()
    return _state(model)

  whole = train(tmp_path / 'whole', False)
  train(tmp_path / 'died', True)
  assert Resume(tmp_path / 'died').initial_epoch == 2
  assert train(tmp_path / 'died', False) == whole


# Refused.


def test_another_configuration_is_refused_with_the_difference(tmp_path):
  def train(config, units=16, momentum=0.9, epochs=2, target=0.5):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
      [
        keras.layers.Flatten(input_shape=(6, 6, 1)),
        keras.layers.Dense(units),
        keras.layers.Dense(2),
      ]
    )
    schedule = tf_unilth.IterativeSparsity(target)
    optimizer = keras.optimizers.SGD(0.05, momentum=momentum)
    model = toys.wrapped(model, schedule, optimizer)
    kernels = [kernel.tobytes() for kernel in toys.kernels(model)]
    resume = Resume(tmp_path, config=config, verbose=0)
    try:
      _fit(model, tf_unilth.LTH(verbose=0), resume, epochs=epochs)
    except CheckpointError:
      assert kernels == [kernel.tobytes() for kernel in toys.kernels(model)]
      raise

  train({'data': {'crop': 4}}, epochs=3)
  train({'data': {'crop': 4}}, epochs=3)
  for match, arguments in (
    (
      r'config\.data\.crop was 4 and is now 5',
      {'config': {'data': {'crop': 5}}},
    ),
    (r'epochs was 3 and is now 4', {'epochs': 4}),
    (r'optimizer\.momentum was 0\.9 and is now 0\.5', {'momentum': 0.5}),
    (
      r'schedules\.0\.target_sparsity was 0\.5 and is now 0\.6',
      {'target': 0.6},
    ),
    (r'another model: .*kernel was .*36, 16.* is now .*36, 8', {'units': 8}),
  ):
    given = {'config': {'data': {'crop': 4}}, 'epochs': 3, **arguments}
    with pytest.raises(CheckpointError, match=match):
      train(**given)


def test_another_ticket_callback_is_refused(tmp_path):
  def train(ticket):
    keras.utils.set_random_seed(1)
    model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
    _fit(model, ticket, Resume(tmp_path, verbose=0), epochs=3)

  train(tf_unilth.DLTH(seed=1, verbose=0))
  with pytest.raises(CheckpointError, match=r'seed=1.* now .*seed=2'):
    train(tf_unilth.DLTH(seed=2, verbose=0))
  with pytest.raises(CheckpointError, match='callback LTH'):
    train(tf_unilth.LTH(verbose=0))


def test_what_is_refused_changes_nothing(tmp_path):
  _fit(_dense(), Resume(tmp_path, config={'a': 1}, verbose=0))
  model = _dense()
  before = _state(model)
  files = {path: path.read_bytes() for path in tmp_path.iterdir()}
  with pytest.raises(CheckpointError, match=r'config\.a was 1 and is now 2'):
    _fit(model, Resume(tmp_path, config={'a': 2}, verbose=0))
  assert _state(model)[: len(before) - 1] == before[: len(before) - 1]
  checkpoints = [path for path in files if path.name != 'lock']
  assert checkpoints
  assert all(path.read_bytes() == files[path] for path in checkpoints)


@pytest.mark.parametrize(
  ('initial_epoch', 'match'), [(1, 'or 2'), (2, 'order')]
)
def test_an_initial_epoch_that_cannot_be_is_refused(
  initial_epoch, match, tmp_path
):
  _die_at(2 * toys.STEPS + 1, tmp_path)
  with pytest.raises(ValueError, match=f'initial_epoch must be 0.*{match}'):
    _fit(_dense(), Resume(tmp_path, verbose=0), initial_epoch=initial_epoch)


_HOLD = """
import fcntl, json, os, sys
file = open(sys.argv[1] + '/lock', 'w')
fcntl.flock(file, fcntl.LOCK_EX)
with open(sys.argv[1] + '/lock-owner.json', 'w') as owner:
  json.dump({'pid': os.getpid(), 'host': 'here'}, owner)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_directory_that_another_writes_into_is_refused(tmp_path):
  command = [sys.executable, '-c', _HOLD, str(tmp_path)]
  pipe = subprocess.PIPE
  with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
    pid = int(other.stdout.readline())
    with pytest.raises(
      tf_unilth.DirectoryInUseError,
      match=f"in use by process {pid} on host 'here'",
    ):
      _fit(_dense(), Resume(tmp_path, verbose=0))
    other.kill()
  owners = []

  def read_owner(epoch, logs):
    text = (tmp_path / 'lock-owner.json').read_text()
    owners.append(json.loads(text)['pid'])

  read = keras.callbacks.LambdaCallback(on_epoch_end=read_owner)
  # It was killed: recovered.
  _fit(_dense(), Resume(tmp_path, verbose=0), read)
  assert {*owners} == {os.getpid()}
  assert not (tmp_path / 'lock-owner.json').exists()


@pytest.mark.parametrize(
  ('arguments', 'match'),
  [
    ({'keep': 1}, 'keep must be a whole number >= 2, but is 1'),
    ({'every_steps': 0}, 'every_steps must be None or a whole number >= 1'),
    ({'config': [1]}, 'config must be a mapping'),
    ({'config': {'a': {1}}}, 'config must be serializable as JSON'),
  ],
)
def test_arguments_out_of_range_are_named(arguments, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    Resume(tmp_path, **arguments)


@pytest.mark.parametrize(
  ('others', 'match'),
  [
    (lambda d: [keras.callbacks.BackupAndRestore(d)], 'BackupAndRestore'),
    (lambda d: [Resume(d)], 'CheckpointAndResume beside'),
    (lambda d: [tf_unilth.LTH()], 'must list LTH before'),
  ],
)
def test_callbacks_that_work_against_it_are_refused(others, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    _fit(_dense(), Resume(tmp_path), *others(str(tmp_path / 'other')))


def test_a_model_without_weights_is_refused(tmp_path):
  model = toys.compiled_for_labels(
    keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
  )
  with pytest.raises(ValueError, match='model must be built before fit'):
    _fit(model, Resume(tmp_path, verbose=0))


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
  _fit(_dense(), Resume(tmp_path, verbose=0), _At(2, fit_inside), epochs=1)
  assert seen
  assert Resume(tmp_path, verbose=0).initial_epoch == 1


@pytest.mark.parametrize('last', [_Refuses, lambda: _At(3, _die), None])
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
  train(callbacks=[_At(1, _die), stop(patience=9)])  # It has no counters.
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
      train(tmp_path / name, _At(toys.STEPS + step, _die))
    assert train(tmp_path / name) == whole


# What cannot be exact is said.


def test_deterministic_operations_need_no_global_generator(
  tmp_path, monkeypatch
):
  def refuse():
    raise RuntimeError('cannot be called if determinism is enabled')

  monkeypatch.setattr(tf.random, 'get_global_generator', refuse)
  _fit(_dense(), Resume(tmp_path, verbose=0))


def test_random_operations_that_cannot_be_put_back_are_named(tmp_path):
  model = keras.Sequential(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      keras.layers.Lambda(
        lambda x: x + tf.random.normal(tf.shape(x), name='mine')
      ),
      keras.layers.Dense(2),
    ]
  )
  with pytest.warns(UserWarning, match='mine.* from a state that TensorFlow'):
    _fit(toys.compiled_for_labels(model), Resume(tmp_path, verbose=0))


def test_a_run_without_a_seed_is_warned(tmp_path, monkeypatch):
  monkeypatch.setattr(random_state, 'global_seed', lambda: None)
  with pytest.warns(UserWarning, match='no seed is set'):
    _fit(_dense(), Resume(tmp_path, verbose=0))


# What breaks.


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
  whole = _dense()
  _fit(whole, Resume(tmp_path / 'whole', verbose=0))

  def no_room(*args):
    raise OSError(28, 'No space left on device')

  fill = _At(
    toys.STEPS + 1,
    lambda: monkeypatch.setattr(checksummed_file.os, 'fsync', no_room),
  )
  died = tmp_path / 'died'
  with pytest.raises(OSError, match='there is no room; epoch-000001-step-0'):
    _fit(_dense(), Resume(died, verbose=0), fill)
  monkeypatch.undo()
  assert len([*died.iterdir()]) == 2  # A checkpoint and the lock.
  resumed = _dense()
  _fit(resumed, Resume(died, verbose=0))
  assert _state(resumed) == _state(whole)


def test_a_nan_is_named_and_never_saved(tmp_path):
  model = _dense()
  bias = model.layers[-1].bias
  spoil = _At(2 * toys.STEPS, lambda: bias[0].assign(np.nan))
  with pytest.raises(FloatingPointError, match=f"weight '{bias.name}' is NaN"):
    _fit(model, Resume(tmp_path, verbose=0), spoil)
  assert Resume(tmp_path).initial_epoch == 1


def test_data_that_are_not_finite_are_named(tmp_path):
  x, y = toys.data()
  x[8 * 5 + 2, 0, 0, 0] = np.inf
  with pytest.raises(FloatingPointError, match='batch 5 of an epoch, tensor 0'):
    _dense().fit(
      x,
      y,
      batch_size=8,
      shuffle=False,
      verbose=0,
      callbacks=[Resume(tmp_path, verbose=0)],
    )
  assert not [*tmp_path.glob('*.checkpoint')]


@pytest.mark.parametrize(
  'arguments, match',
  [
    (
      {'directory': ''},
      "directory must be a path that is not empty, but is ''",
    ),
    ({'directory': None}, 'directory must be a path, but is None'),
    ({'directory': b'run'}, "directory must be a path, but is b'run'"),
    ({'verbose': 'yes'}, "verbose must be one of .* but is 'yes'"),
    ({'config': []}, 'config must be a mapping'),
    ({'every_steps': True}, 'every_steps must be None or a whole number'),
    ({'keep': 10**30}, r'keep must be a whole number >= 2 and < 2\^63'),
  ],
)
def test_arguments_are_named_at_once(arguments, match, tmp_path):
  with pytest.raises((TypeError, ValueError), match=match):
    tf_unilth.CheckpointAndResume(**{'directory': tmp_path, **arguments})


def test_a_file_where_the_directory_should_be_is_named_at_once(tmp_path):
  (tmp_path / 'file').write_text('words')
  with pytest.raises(NotADirectoryError, match=r'directory .* is not a folder'):
    tf_unilth.CheckpointAndResume(tmp_path / 'file')
