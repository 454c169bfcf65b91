"""CheckpointAndResume: what cannot be exact or cannot be saved is said."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import interrupts, toys
from tf_unilth.files import checksummed_file
from tf_unilth.resume.tfmot import random_generators

pytestmark = pytest.mark.long
Resume = tf_unilth.CheckpointAndResume


# A small dense model, for what does not depend on pruning.


def _dense(optimizer='sgd', **compiled):
  keras.utils.set_random_seed(1)
  return toys.compiled_for_labels(toys.dense(), optimizer, **compiled)


def _fit(model, resume, *callbacks, **arguments):
  return toys.fit(model, resume, *callbacks, **{'epochs': 4, **arguments})


def _state(model):
  return [value.tobytes() for value in toys.training_state(model)]


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
  monkeypatch.setattr(random_generators, 'global_seed', lambda: None)
  with pytest.warns(UserWarning, match='no seed is set'):
    _fit(_dense(), Resume(tmp_path, verbose=0))


# What breaks.


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
  whole = _dense()
  _fit(whole, Resume(tmp_path / 'whole', verbose=0))

  def no_room(*args):
    raise OSError(28, 'No space left on device')

  fill = interrupts.At(
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
  spoil = interrupts.At(2 * toys.STEPS, lambda: bias[0].assign(np.nan))
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
