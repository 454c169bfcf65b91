"""Keras 3: BackupAndRestore and `.keras` files of runs in progress."""

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys

pytestmark = pytest.mark.keras3
EPOCHS = 9


class Died(Exception):
  """A `fit` that died."""


class _DieIn(keras.callbacks.Callback):
  """Saves the model and dies as an epoch begins."""

  def __init__(self, epoch, path=None):
    super().__init__()
    self._epoch, self._path = epoch, path

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == self._epoch:
      if self._path is not None:
        self.model.save(self._path)
      raise Died


def _planned(model=None):
  keras.utils.set_random_seed(1)
  schedule = tf_unilth.IterativeSparsity(0.9, rounds=4)
  if model is not None:
    return tf_unilth.prune_low_magnitude(model, schedule)
  # Without jit, which takes longer than it saves.
  return keras_3_toys.planned(keras_3_toys.dense(), schedule, jit_compile=False)


def _fit(model, *callbacks, **fit):
  ticket, spy = tf_unilth.LTH(verbose=1), keras_3_toys.Spy()
  keras_3_toys.fit(model, ticket, spy, *callbacks, epochs=EPOCHS, **fit)
  assert ticket.reached_target
  return spy


def _died(epoch, *callbacks, path=None):
  """Returns the masks of a run that died as an epoch began."""
  model = _planned()
  with pytest.warns(UserWarning, match='NOT met'), pytest.raises(Died):
    _fit(model, *callbacks, _DieIn(epoch, path))
  masks = keras_3_toys.masks(model)
  assert 0.3 < np.mean(np.concatenate([m.ravel() for m in masks])) < 0.9
  return masks


def _assert_nested(before, spy):
  for masks, weights in spy.batches:
    for old, mask, weight in zip(before, masks, weights, strict=True):
      assert not np.any(mask & ~old)
      assert not weight[~old].any()


def _backup(tmp_path, **arguments):
  return keras.callbacks.BackupAndRestore(str(tmp_path / 'backup'), **arguments)


def test_backup_and_restore_continues_a_run(tmp_path, capsys):
  masks = _died(4, _backup(tmp_path))
  files = sorted(file.name for file in (tmp_path / 'backup').iterdir())
  assert 'pruning_run.state' in files
  callback = _backup(tmp_path)
  spy = _fit(_planned(), callback)
  assert 'LTH: resuming in stage 2' in capsys.readouterr().out
  _assert_nested(masks, spy)
  assert len(spy.epochs) == EPOCHS - 4 and max(spy.rounds) == 4
  assert '_save_model' not in vars(callback)


def test_a_backup_with_other_weights_begins_a_warned_new_run(tmp_path):
  masks = _died(4, _backup(tmp_path))
  # As after a kill between the two files: these weights have another digest.
  with (tmp_path / 'backup' / 'latest.weights.h5').open('ab') as weights:
    weights.write(b'\0')  # HDF5 does not read it.
  with pytest.warns(UserWarning, match='has no state of the run') as said:
    spy = _fit(_planned(), _backup(tmp_path))
  assert any('begins from these zeros' in str(one.message) for one in said)
  _assert_nested(masks, spy)


@pytest.mark.long
def test_a_keras_file_of_a_run_begins_a_warned_new_run(tmp_path):
  path = tmp_path / 'model.keras'
  masks = _died(4, path=path)
  model = _planned(keras.models.load_model(path))
  with pytest.warns(UserWarning, match='it has no state of the run'):
    spy = _fit(model)
  _assert_nested(masks, spy)


@pytest.mark.long
def test_a_keras_file_with_its_checkpoint_continues_the_run(tmp_path, capsys):
  def resume():
    return tf_unilth.CheckpointAndResume(tmp_path / 'run', verbose=0)

  path = tmp_path / 'model.keras'
  masks = _died(4, resume(), path=path)
  model = _planned(keras.models.load_model(path))
  spy = _fit(model, resume())
  assert 'LTH: resuming in stage 2' in capsys.readouterr().out
  _assert_nested(masks, spy)
  whole = _planned()
  _fit(whole)
  for one, other in zip(
    keras_3_toys.training_state(whole),
    keras_3_toys.training_state(model),
    strict=True,
  ):
    np.testing.assert_array_equal(one, other)
