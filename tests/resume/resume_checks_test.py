"""CheckpointAndResume: what is refused, with the difference."""

import json
import os
import subprocess
import sys

import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import interrupts, toys
from tf_unilth.files.checkpoint_errors import CheckpointError

pytestmark = pytest.mark.long
Resume = tf_unilth.CheckpointAndResume


class Died(Exception):
  """A `fit` that died."""


def _die():
  raise Died


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
