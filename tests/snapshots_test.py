"""Snapshots: bit for bit in any dtype, and through a TensorFlow checkpoint."""

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.snapshots import Snapshot


def _variables():
  return [
    tf.Variable([[1.5, -0.0], [np.inf, 1e-45]]),
    tf.Variable(7, dtype=tf.int64),
    tf.Variable([1.1, 2.2], dtype=tf.bfloat16),
    tf.Variable([True, False]),
    tf.Variable(np.zeros((0, 3), np.float32)),
  ]


def _spoil(variables):
  for variable in variables:
    variable.assign(tf.zeros_like(variable))


def _bits(variables):
  return [variable.numpy().tobytes() for variable in variables]


def test_restore_puts_every_bit_back():
  variables, snapshot = _variables(), Snapshot()
  before = _bits(variables)
  snapshot.take(variables, epoch=4)
  _spoil(variables)
  assert _bits(variables) != before
  values = snapshot.restore(variables)
  assert _bits(variables) == before
  assert [value.tobytes() for value in values] == before
  assert snapshot.epoch == 4 and snapshot.taken


def test_what_it_restored_is_no_copy_and_outlives_it():
  variables, snapshot = _variables(), Snapshot()
  before = _bits(variables)
  snapshot.take(variables, epoch=4)
  values = snapshot.restore(variables)
  assert np.shares_memory(values[0], snapshot.restore(variables)[0])
  _spoil(variables)
  snapshot.clear()
  assert [value.tobytes() for value in values] == before
  assert not snapshot.taken


def test_it_survives_a_checkpoint(tmp_path):
  variables, snapshot = _variables(), Snapshot()
  before = _bits(variables)
  snapshot.take(variables, epoch=4)
  path = tf.train.Checkpoint(snapshot=snapshot).save(str(tmp_path / 'kept'))
  _spoil(variables)
  other = Snapshot()
  tf.train.Checkpoint(snapshot=other).restore(path).assert_consumed()
  other.restore(variables)
  assert _bits(variables) == before and other.epoch == 4


def test_an_empty_one_survives_a_checkpoint_too(tmp_path):
  path = tf.train.Checkpoint(snapshot=Snapshot()).save(str(tmp_path / 'empty'))
  other = Snapshot()
  tf.train.Checkpoint(snapshot=other).restore(path)
  assert not other.taken
