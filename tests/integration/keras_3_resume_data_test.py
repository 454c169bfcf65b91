"""CheckpointAndResume with Keras 3: other data, signals and warnings."""

import gc
import os
import random
import signal
import warnings

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys, toys
from tests.testing.interrupts import At
from tf_unilth.files.checkpoint_errors import CheckpointError

pytestmark = pytest.mark.keras3
BACKEND = keras.backend.backend()
Resume = tf_unilth.CheckpointAndResume
layers = keras.layers


class Died(Exception):
  """A `fit` that died."""


def _die():
  raise Died


def _model(*more, **compiled):
  """Returns a small dense model, without jit, which takes seconds.

  Args:
    *more: return further layers, which draw their seeds.
    **compiled: arguments of `compile`.
  """
  keras.utils.set_random_seed(1)
  hidden = layers.Dense(8, activation='relu')
  model = keras.Sequential(
    [layers.Input((6, 6, 1)), layers.Flatten(), hidden]
    + [make() for make in more]
    + [layers.Dense(2)]
  )
  return keras_3_toys.compiled_for_labels(
    model, keras.optimizers.Adam(0.01), jit_compile=False, **compiled
  )


def _state(model):
  return [
    keras.ops.convert_to_numpy(v.value).tobytes()
    for v in [*model.variables, *model.optimizer.variables]
  ]


def _fit(model, resume, *callbacks, **arguments):
  return keras_3_toys.fit(
    model, resume, *callbacks, **{'epochs': 3, **arguments}
  )


class _Noisy(keras.utils.PyDataset):
  """Batches with noise, in an order that it draws after each epoch.

  On TensorFlow, Keras reads ahead in a thread, which would draw the noise at
  other moments in each run.
  """

  def __init__(self):
    super().__init__()
    self._data, self._order = toys.data(), np.random.permutation(64)

  def __len__(self):
    return toys.STEPS

  def __getitem__(self, index):
    x, y = self._data
    chosen = self._order[8 * index : 8 * index + 8]
    noise = 0.0 if BACKEND == 'tensorflow' else np.random.normal()
    return x[chosen] + np.float32(noise), y[chosen]

  def on_epoch_end(self):
    self._order = np.random.permutation(64)


def _generator():
  x, y = toys.data()
  rng = np.random.default_rng(2)
  while True:
    chosen = rng.permutation(64)[:8]
    yield x[chosen], y[chosen]


def _dataset():
  import tensorflow as tf

  return tf.data.Dataset.from_tensor_slices(toys.data()).shuffle(64).batch(8)


def _dataloader():
  import torch

  x, y = map(torch.from_numpy, toys.data())
  data = torch.utils.data.TensorDataset(x, y)
  generator = torch.Generator().manual_seed(3)
  return torch.utils.data.DataLoader(data, 8, shuffle=True, generator=generator)


_DATA = {
  'pydataset': (_Noisy, {}),
  'generator': (_generator, {'steps_per_epoch': toys.STEPS}),
  'own': (_dataloader if BACKEND == 'torch' else _dataset, {}),
}


@pytest.mark.parametrize('kind', _DATA)
def test_a_run_on_other_data_ends_bit_identical(kind, tmp_path):
  make, arguments = _DATA[kind]
  if kind == 'generator' and BACKEND == 'tensorflow':
    pytest.skip('Keras reads it ahead: no two runs are alike')

  def train(directory, *more):
    model = _model(lambda: layers.Dropout(0.2), metrics=['accuracy'])
    history = model.fit(
      make(),
      epochs=3,
      verbose=0,
      validation_data=toys.data(),
      callbacks=[Resume(directory, every_steps=3, verbose=0), *more],
      **arguments,
    )
    return _state(model), history.history

  whole = train(tmp_path / 'whole')
  with pytest.raises(Died):
    train(tmp_path / 'died', At(toys.STEPS + 5, _die))
  assert train(tmp_path / 'died') == whole


def test_a_generator_that_is_read_ahead_is_warned_of(tmp_path):
  if BACKEND != 'tensorflow':
    pytest.skip('Keras reads no data ahead')
  with pytest.warns(UserWarning, match='generator, which Keras reads ahead'):
    _model().fit(
      _generator(),
      steps_per_epoch=2,
      callbacks=[Resume(tmp_path, verbose=0)],
      verbose=0,
    )


@pytest.mark.long
def test_what_callbacks_draw_and_set_goes_on(tmp_path):
  """Beside arrays that are shuffled by the same generator, on some backends."""

  def train(directory, *more):
    model = _model()

    def disturb(batch, logs):
      drawn = [random.random(), np.random.normal()]
      drawn.append(float(keras.ops.convert_to_numpy(keras.random.normal(()))))
      model.layers[-1].bias.assign_add([0.01 * sum(drawn), 0.0])

    class Disturb(keras.callbacks.Callback):
      def on_train_batch_end(self, batch, logs=None):
        if BACKEND == 'jax':
          model.jax_state_sync()
        disturb(batch, logs)

    _fit(model, Resume(directory, every_steps=3, verbose=0), Disturb(), *more)
    return _state(model)

  whole = train(tmp_path / 'whole')
  with pytest.raises(Died):
    train(tmp_path / 'died', At(toys.STEPS + 5, _die))
  assert train(tmp_path / 'died') == whole


def test_a_signal_saves_and_leaves(tmp_path):
  before = signal.getsignal(signal.SIGTERM)
  stop = At(11, lambda: os.kill(os.getpid(), signal.SIGTERM))
  with pytest.raises(SystemExit) as left:
    _fit(_model(), Resume(tmp_path, verbose=0), stop)
  assert left.value.code == 143
  assert signal.getsignal(signal.SIGTERM) is before
  resume = Resume(tmp_path, verbose=0)
  assert (resume.initial_epoch, resume.initial_step) == (1, 3)


def test_a_signal_in_a_run_is_no_missed_target(tmp_path, capsys):
  schedule = tf_unilth.IterativeSparsity(0.5, rounds=2)
  model = keras_3_toys.planned(keras_3_toys.dense(), schedule)
  stop = At(11, lambda: os.kill(os.getpid(), signal.SIGTERM))
  with warnings.catch_warnings():
    warnings.simplefilter('error', UserWarning)
    with pytest.raises(SystemExit):
      resume = Resume(tmp_path, verbose=0)
      _fit(model, tf_unilth.UniLTH(), resume, stop, epochs=6)
  assert 'NOT' not in capsys.readouterr().out


@pytest.mark.long
def test_a_fit_that_died_holds_no_lock_handler_or_epoch(tmp_path):
  before = signal.getsignal(signal.SIGINT)
  model = _model()
  _fit(model, Resume(tmp_path, verbose=0), epochs=2)
  again = _model()
  with pytest.raises(CheckpointError, match='epochs was 2 and is now 3'):
    _fit(again, Resume(tmp_path, verbose=0), epochs=3)
  with pytest.raises(Died):
    _fit(again, Resume(tmp_path / 'new', verbose=0), At(3, _die), epochs=2)
  gc.collect()
  assert signal.getsignal(signal.SIGINT) is before
  assert again._initial_epoch is None
  _fit(again, Resume(tmp_path / 'new', verbose=0), epochs=2)  # Not refused.
  history = keras_3_toys.fit(again, epochs=2)  # All of its epochs.
  assert len(history.history['loss']) == 2


def test_random_operations_that_cannot_be_restored_are_named(tmp_path):
  if BACKEND == 'jax':
    pytest.skip('operations on JAX have no state')

  class Noise(layers.Layer):
    def build(self, shape):
      if BACKEND == 'torch':
        import torch

        self.noise = torch.Generator()

    def call(self, inputs):
      if BACKEND == 'torch':
        return inputs
      import tensorflow as tf

      return inputs + tf.random.normal(tf.shape(inputs), name='mine')

  words = 'torch.Generator .noise.*not saved' if BACKEND == 'torch' else 'mine'
  with pytest.warns(UserWarning, match=words):
    _fit(_model(Noise), Resume(tmp_path, verbose=0), epochs=1)


@pytest.mark.long
def test_a_run_without_a_seed_is_warned_of(tmp_path, monkeypatch):
  from tf_unilth.resume.keras3 import random_generators

  monkeypatch.setattr(random_generators, 'seed', lambda: None)
  with pytest.warns(UserWarning, match='no seed is set'):
    _fit(_model(), Resume(tmp_path, verbose=0), epochs=1)
