"""Snapshots and the run state: bit for bit, and through a checkpoint."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_unilth.engines.tfmot import variable_bytes
from tf_unilth.engines.tfmot.tracked_run import TrackedRun
from tf_unilth.run.run_state import RunState
from tf_unilth.run.snapshot import Snapshot


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


def test_every_bit_is_written_back():
  variables = _variables()
  before = _bits(variables)
  values = variable_bytes.read(variables)
  _spoil(variables)
  assert _bits(variables) != before
  variable_bytes.write(variables, values)
  assert _bits(variables) == before
  with pytest.raises(ValueError, match='5 variables, but are 4'):
    variable_bytes.write(variables, values[:4])


def test_arrays_share_the_memory_of_a_snapshot_and_outlive_it():
  variables, snapshot = _variables(), Snapshot()
  before = _bits(variables)
  snapshot.take(variable_bytes.read(variables), epoch=4)
  assert snapshot.epoch == 4 and snapshot.taken
  arrays = variable_bytes.arrays(variables, snapshot.values)
  again = variable_bytes.arrays(variables, snapshot.values)
  assert np.shares_memory(arrays[0], again[0])
  _spoil(variables)
  snapshot.clear()
  assert [array.tobytes() for array in arrays] == before
  assert not snapshot.taken


def test_a_new_optimizer_replaces_the_values_of_the_old_one():
  snapshot = Snapshot()
  snapshot.replace_from(1, [b'new'])
  assert not snapshot.taken
  snapshot.take([b'weight', b'slot', b'slot'], epoch=1)
  snapshot.replace_from(1, [b'new'])
  assert snapshot.values == [b'weight', b'new'] and snapshot.epoch == 1


def _run(*snapshots):
  run = TrackedRun()
  for number, values in enumerate(snapshots):
    run.state.snapshots.append(Snapshot())
    if values:
      run.state.snapshots[-1].take(values, epoch=number)
  # Each number differs from its default, and from the others.
  for number, field in enumerate(dataclasses.fields(RunState), 3):
    if field.name != 'snapshots':
      setattr(run.state, field.name, type(field.default)(number))
  run.ramp.set_numbers(1, 2, 0.5)
  run.ramp.add_candidates([np.array([True, False, True])])
  return run


def _contents(run):
  state = run.state
  return (
    state.numbers(),
    [(s.epoch, s.values) for s in state.snapshots],
    [c.numpy().tolist() for c in run.ramp.candidates],
  )


@pytest.mark.parametrize('taken', [True, False])
def test_a_run_survives_a_tensorflow_checkpoint(taken, tmp_path):
  bits = variable_bytes.read(_variables()) if taken else []
  before = _run(bits, [b'', b'\n{'] if taken else [])
  path = tf.train.Checkpoint(run=before).save(str(tmp_path / 'kept'))
  after = TrackedRun()
  after.ramp.add_candidates([np.zeros(3, bool)])
  state = after.state
  tf.train.Checkpoint(run=after).restore(path).assert_consumed()
  # In place, since others refer to it.
  assert after.state is state and _contents(after) == _contents(before)
  assert float(after.ramp.limit) == 0.5


def test_a_run_survives_the_configuration_of_a_model():
  before = _run(variable_bytes.read(_variables()), [])
  after = TrackedRun()
  after.load(before.get_config())
  assert _contents(after) == _contents(before)
  assert bool(after.has_begun)
  ramp = after.state.ramp_begin, after.state.ramp_steps, after.state.ramp_limit
  assert ramp == (
    int(after.ramp.begin),
    int(after.ramp.steps),
    float(after.ramp.limit),
  )


@pytest.mark.parametrize(
  'written, name',
  [(1392339988, 'UniLTH'), (0, ''), (5, ''), ('LTH', 'LTH'), ('', '')],
)
def test_the_algorithm_of_older_files_is_known_by_its_crc(written, name):
  state = RunState()
  state.set_numbers({'algorithm': written})
  assert state.algorithm == name
