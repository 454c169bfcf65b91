"""TicketCheckpoint, and what Keras saves in mid-run."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys


def _schedule(target=0.5, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _model(target=0.5, optimizer=None, **arguments):
  keras.utils.set_random_seed(1)
  return toys.wrapped(toys.dense(), _schedule(target, **arguments), optimizer)


# Checkpoints.


def test_checkpoints_between_epochs_are_sparse(tmp_path):
  model = _model(0.9, rounds=4)
  path = str(tmp_path / 'step-{batch}.weights.h5')
  save = keras.callbacks.ModelCheckpoint(
    path, save_freq=3, save_weights_only=True
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), save, epochs=8)
  seen = 0
  copy = _model(0.9, rounds=4)
  for file in sorted(tmp_path.iterdir()):
    copy.load_weights(str(file))
    for mask, weight in zip(toys.masks(copy), toys.kernels(copy)):
      assert not weight[~mask].any()
      seen += int(np.sum(~mask))
  assert seen > 0


def test_ticket_checkpoint_keeps_the_best_epoch_at_the_target(tmp_path):
  # The dense epochs look best, then epoch 7 of the finetuned ones.
  val_loss = toys.SetValLoss(0.1, 0.2, 0.3, 0.9, 0.9, 0.9, 0.7, 0.8)
  path = str(tmp_path / 'best.weights.h5')
  keep = tf_unilth.TicketCheckpoint(
    path, save_best_only=True, save_weights_only=True
  )
  spy = toys.Spy()
  callback = tf_unilth.UniLTH(verbose=0, finetune_fraction=0.9)
  toys.fit(_model(), val_loss, callback, keep, spy, epochs=8)
  kept = _model()
  kept.load_weights(path)
  masks, weights = spy.epochs[6]
  for weight, expected in zip(toys.kernels(kept), weights):
    np.testing.assert_array_equal(weight, expected)
  assert toys.zeros(toys.kernels(kept)) == round(0.5 * toys.size(masks))


def test_save_best_only_is_warned_of(tmp_path):
  save = keras.callbacks.ModelCheckpoint(
    str(tmp_path / 'best.h5'), save_best_only=True, save_weights_only=True
  )
  with pytest.warns(UserWarning, match='TicketCheckpoint takes the same'):
    toys.fit(_model(), tf_unilth.UniLTH(verbose=0), save)


class _Crash(keras.callbacks.Callback):
  def __init__(self, epoch):
    super().__init__()
    self._epoch = epoch

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == self._epoch:
      raise RuntimeError('crash')


def test_a_run_that_keras_backs_up_ends_bit_identical(tmp_path):
  # In stage 1, whose snapshot must survive. What else is in a checkpoint of
  # TensorFlow's, saving_test.py looks at.
  crash_before = 3

  def build():
    keras.utils.set_random_seed(1)
    optimizer = keras.optimizers.Adam(tf_unilth.StagedLearningRate(0.05))
    return toys.wrapped(toys.conv(), _schedule(0.9, rounds=5), optimizer)

  def train(model, *more):
    return toys.fit(
      model,
      toys.SetValLoss(3, 2, 2.5, 2.2),
      tf_unilth.UniLTH(verbose=0),
      *more,
      epochs=8,
      shuffle=False,
    )

  whole = build()
  train(whole)
  backup = str(tmp_path / 'backup')
  with pytest.raises(RuntimeError, match='crash'):
    train(
      build(),
      keras.callbacks.BackupAndRestore(backup),
      _Crash(crash_before),
    )
  resumed = build()
  history = train(resumed, keras.callbacks.BackupAndRestore(backup))
  assert history.epoch[0] == crash_before
  for before, after in zip(
    toys.training_state(whole), toys.training_state(resumed), strict=True
  ):
    np.testing.assert_array_equal(before, after)
  for before, after in zip(toys.masks(whole), toys.masks(resumed)):
    np.testing.assert_array_equal(before, after)


# A schedule used twice, other formats, several replicas.


def test_ticket_checkpoint_needs_our_schedule(tmp_path):
  schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0)
  model = toys.wrapped(toys.dense(), schedule)
  with pytest.raises(ValueError, match='must be a tf_unilth'):
    toys.fit(model, tf_unilth.TicketCheckpoint(str(tmp_path / 'x.h5')))


@pytest.mark.parametrize('name', ['model.keras', 'model.h5'])
def test_a_wrapped_model_is_saved_in_every_epoch(name, tmp_path):
  save = keras.callbacks.ModelCheckpoint(str(tmp_path / name))
  model = _model(0.9)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), save, epochs=6)
  with tfmot.sparsity.keras.prune_scope():
    copy = keras.models.load_model(str(tmp_path / name))
  x, _ = toys.data()
  np.testing.assert_array_equal(
    copy.predict(x, verbose=0), model.predict(x, verbose=0)
  )
  for before, after in zip(toys.kernels(model), toys.kernels(copy)):
    np.testing.assert_array_equal(before, after)
