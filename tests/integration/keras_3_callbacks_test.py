"""Tickets and the callbacks that wait for the target, on Keras 3 models."""

import functools
import os

import keras
import numpy as np
import pytest
import tf_keras

import tf_unilth
from tests.testing import keras_3_toys, toys
from tf_unilth.engines.keras3 import backend_values

pytestmark = pytest.mark.keras3


def _planned(model=keras_3_toys.conv, target=0.9):
  keras.utils.set_random_seed(0)
  return keras_3_toys.planned(
    model(), tf_unilth.IterativeSparsity(target, rounds=2)
  )


@functools.cache
def _found():
  """Returns the ticket of a run that has rewound, and its model."""
  model, callback = _planned(), tf_unilth.LTH(verbose=0)
  keras_3_toys.fit(model, callback)
  return tf_unilth.Ticket.from_model(model, callback), model


def _assert_equal(first, second):
  for one, other in zip(first, second, strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_ticket_goes_by_a_file_onto_a_new_model(tmp_path):
  ticket, model = _found()
  assert ticket.method == 'LTH' and ticket.rewind_weights is not None
  assert ticket.provenance['versions']['backend'] == keras.backend.backend()
  _assert_equal(ticket.masks.values(), keras_3_toys.masks(model))
  ticket.save(tmp_path / 'a.ticket')
  loaded = tf_unilth.Ticket.load(tmp_path / 'a.ticket')
  fresh = keras_3_toys.conv()
  applied = loaded.apply(fresh)
  assert applied is fresh
  expected = [
    np.where(mask, value, 0)
    for mask, value in zip(
      ticket.masks.values(),
      [v for v in ticket.rewind_weights.values() if v.ndim > 1],
      strict=True,
    )
  ]
  plan = applied._pruning_plan
  _assert_equal(plan.read_weights(), expected)
  # Any training keeps its zeros, with a ticket callback or without.
  keras_3_toys.compiled_for_labels(applied, keras.optimizers.Adam(0.01))
  keras_3_toys.fit(applied, epochs=2)
  keras_3_toys.fit(applied, tf_unilth.UniLTH(verbose=0), epochs=4)
  _assert_equal(keras_3_toys.masks(applied), ticket.masks.values())
  stripped = tf_unilth.strip_pruning(applied)
  assert tf_unilth.sparsity_summary(stripped).zeros >= ticket.zeros


def test_one_file_serves_both_kerases(tmp_path):
  ticket, _ = _found()
  ticket.save(tmp_path / 'a.ticket')
  loaded = tf_unilth.Ticket.load(tmp_path / 'a.ticket')
  other = loaded.apply(toys.conv())  # Of tf_keras.
  _assert_equal(toys.masks(other), ticket.masks.values())
  back = tf_unilth.Ticket.from_model(
    other, rewind_weights=list(ticket.rewind_weights.values())
  )
  again = back.apply(keras_3_toys.conv())
  _assert_equal(keras_3_toys.masks(again), ticket.masks.values())
  _assert_equal(
    [backend_values.read(v) for v in again.weights if len(v.shape) < 2],
    [v for v in ticket.rewind_weights.values() if v.ndim < 2],
  )


def test_a_ticket_with_another_head_skips_it():
  ticket, _ = _found()
  body = keras_3_toys.conv()
  outputs = keras.layers.Dense(5, name='classes')(body.layers[-2].output)
  model = keras.Model(body.inputs, outputs)
  applied = ticket.apply(model, weights=False, skip=['classes'])
  found = keras_3_toys.masks(applied)
  _assert_equal(found, list(ticket.masks.values())[:2])


def test_a_ticket_that_does_not_fit_is_refused_and_changes_nothing():
  ticket, _ = _found()
  model = keras_3_toys.dense()
  before = model.get_weights()
  with pytest.raises(ValueError, match='does not fit model'):
    ticket.apply(model)
  _assert_equal(model.get_weights(), before)
  assert '_pruning_plan' not in vars(model)


def test_ticket_checkpoint_keeps_the_best_ticket(tmp_path):
  model = _planned(keras_3_toys.dense)
  path = str(tmp_path / 'best.keras')
  checkpoint = tf_unilth.TicketCheckpoint(path, save_best_only=True)
  saved = []

  class Watch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      saved.append((os.path.exists(path), model._pruning_plan.are_at_target()))

  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), checkpoint, Watch())
  assert saved[-1] == (True, True)
  assert all(target or not exists for exists, target in saved)
  loaded = keras.models.load_model(path)
  target = sum(int((~m).sum()) for m in keras_3_toys.masks(model))
  assert tf_unilth.sparsity_summary(loaded).zeros == target


def test_ticket_early_stopping_waits_for_the_target():
  model = _planned(keras_3_toys.dense)
  stopping = tf_unilth.TicketEarlyStopping(
    'val_loss', patience=1, min_delta=100, restore_best_weights=True
  )
  callback = tf_unilth.DLTH(verbose=0)
  history = keras_3_toys.fit(model, callback, stopping, epochs=20).history
  assert callback.reached_target
  assert len(history['stage']) < 20 and history['stage'][-1] == 3


def test_the_epoch_of_a_plain_early_stopping_is_warned_of():
  model = _planned(keras_3_toys.dense)
  with pytest.warns(UserWarning, match='TicketEarlyStopping'):
    keras_3_toys.fit(
      model,
      tf_unilth.UniLTH(verbose=0),
      keras.callbacks.EarlyStopping(patience=7),
      epochs=10,
    )
  restoring = keras.callbacks.EarlyStopping(restore_best_weights=True)
  with pytest.raises(ValueError, match='restore_best_weights'):
    keras_3_toys.fit(model, tf_unilth.UniLTH(verbose=0), restoring)


def test_a_layer_of_the_other_keras_is_named():
  layer = tf_keras.layers.Dense(2)
  with pytest.raises(TypeError, match=r'skip must be a keras\.Layer'):
    tf_unilth.prune_low_magnitude(
      keras_3_toys.dense(), tf_unilth.IterativeSparsity(0.5), skip=[layer]
    )
