"""CheckpointAndResume in `fit`: runs that died go on and end bit-identical."""

import gc
import os
import random
import signal
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.stress import torture_run
from tests.testing import interrupts, toys

pytestmark = pytest.mark.long
Resume = tf_unilth.CheckpointAndResume


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


def _state(model):
  return [value.tobytes() for value in toys.training_state(model)]


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
    torture_run.train(case, tmp_path / 'died', interrupts.At(died_at, _die))
  seen = toys.Spy() if case['method'] == 'unilth' else interrupts.At(0, _die)
  resumed, resumed_history = torture_run.train(case, tmp_path / 'died', seen)
  if case['method'] == 'unilth':
    assert len(seen.batches) == (10 - 2) * toys.STEPS  # Not from its start.
  assert torture_run.hashes(whole, history) == torture_run.hashes(
    resumed, resumed_history
  )
  # Once more: it is finished, and nothing is trained.
  again, again_history = torture_run.train(
    case, tmp_path / 'died', interrupts.At(1, _die)
  )
  assert torture_run.hashes(whole, history) == torture_run.hashes(
    again, again_history
  )


def test_the_weights_that_a_ticket_is_rewound_to_survive(tmp_path):
  def train(name, *more):
    keras.utils.set_random_seed(1)
    model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
    ticket = tf_unilth.LTH(verbose=0)
    resume = Resume(tmp_path / name, verbose=0)
    _fit(model, ticket, resume, *more, epochs=6)
    return ticket.rewind_weights

  expected = train('whole')
  with pytest.raises(Died):  # It has rewound before.
    train('died', interrupts.At(5 * toys.STEPS + 1, _die))
  weights = train('died')
  assert any(np.any(weight) for weight in weights)
  for weight, other in zip(weights, expected, strict=True):
    np.testing.assert_array_equal(weight, other)


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
    train(tmp_path / 'died', interrupts.At(2 * toys.STEPS + 5, _die))
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
    train(tmp_path / 'died', interrupts.At(toys.STEPS + 5, _die))
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
      train(directory, interrupts.At(epochs * toys.STEPS + 1, _die))
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
    train(tmp_path / 'died', interrupts.At(2 * toys.STEPS + 5, _die))
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

  stop = interrupts.At(step, interrupt)
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


def test_a_signal_in_a_run_is_no_missed_target(tmp_path, capsys):
  schedule = tf_unilth.IterativeSparsity(0.5, rounds=2)
  model = toys.wrapped(toys.dense(), schedule)
  resume = Resume(tmp_path, verbose=0)
  stop = interrupts.At(11, lambda: os.kill(os.getpid(), signal.SIGTERM))
  with warnings.catch_warnings():
    warnings.simplefilter('error', UserWarning)
    with pytest.raises(SystemExit):
      _fit(model, tf_unilth.UniLTH(), resume, stop, epochs=6)
    gc.collect()  # By then Keras's objects of the `fit` are gone.
  assert 'NOT' not in capsys.readouterr().out
