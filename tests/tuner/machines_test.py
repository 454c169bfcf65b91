"""Chief and workers: each trial once, deaths survived, and no hanging."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.testing import tuned
from tf_unilth import tuner
from tf_unilth.tuner import chief as chief_of
from tf_unilth.tuner import worker as worker_of

pytestmark = pytest.mark.long


def _free_port():
  with socket.socket() as found:
    found.bind(('127.0.0.1', 0))
    return found.getsockname()[1]


@pytest.fixture
def address(monkeypatch):
  monkeypatch.setenv('KERASTUNER_ORACLE_IP', '127.0.0.1')
  monkeypatch.setenv('KERASTUNER_ORACLE_PORT', str(_free_port()))


@pytest.fixture
def oracle(tmp_path):
  return tuned.search(tmp_path / 'search', max_trials=3).oracle


class _Chief(threading.Thread):
  """A chief in this process; keeps how it ended and what it said."""

  def __init__(self, oracle, timeout):
    super().__init__(daemon=True)
    self._oracle, self._timeout = oracle, timeout
    self.error, self.said = None, []

  def run(self):
    try:
      chief_of.serve(self._oracle, self._timeout, self.said.append)
    except Exception as error:
      self.error = error


def _client(monkeypatch, oracle, name, timeout):
  monkeypatch.setenv('KERASTUNER_TUNER_ID', name)
  return worker_of.Client(oracle, timeout)


def _end(client, trial, accuracy):
  metrics = {'val_accuracy': accuracy, 'ticket_sparsity': 0.5, 'seconds': 1}
  client.update_trial(trial.trial_id, metrics)
  trial.status = 'COMPLETED'
  client.end_trial(trial)


def test_a_dead_worker_s_trial_goes_to_another(oracle, address, monkeypatch):
  chief = _Chief(oracle, timeout=0.6)
  one = _client(monkeypatch, oracle, 'one', 0.6)
  other = _client(monkeypatch, oracle, 'other', 0.6)
  chief.start()
  lost = one.create_trial('one')  # And then it calls no more.
  with other.calling():
    done = []
    while (trial := other.create_trial('other')).status == 'RUNNING':
      _end(other, trial, 0.5 + len(done) / 10)
      done.append(trial.trial_id)
      if trial.trial_id == lost.trial_id:
        break
    # It comes back: what it has is of no use any more.
    _end(one, lost, 0.99)
    while (trial := other.create_trial('other')).status == 'RUNNING':
      _end(other, trial, 0.1)
      done.append(trial.trial_id)
  chief.join(20)
  assert not chief.is_alive() and chief.error is None
  assert sorted(done) == ['0', '1', '2']
  assert sorted(oracle.end_order) == ['0', '1', '2']
  accuracy = oracle.outcome(oracle.trials['0']).accuracy
  assert accuracy == pytest.approx(0.5 + done.index('0') / 10)
  assert any(
    line.startswith('one has not called') and 'its trial 0' in line
    for line in chief.said
  )


def test_a_worker_is_not_dismissed_while_another_may_die(
  oracle, address, monkeypatch
):
  oracle.max_trials = 1
  chief = _Chief(oracle, timeout=0.6)
  one = _client(monkeypatch, oracle, 'one', 0.6)
  other = _client(monkeypatch, oracle, 'other', 0.6)
  chief.start()
  assert one.create_trial('one').status == 'RUNNING'
  with other.calling():
    trial = other.create_trial('other')  # Waits for the other's death.
    assert (trial.status, trial.trial_id) == ('RUNNING', '0')
    _end(other, trial, 0.5)
    assert other.create_trial('other').status == 'STOPPED'
  chief.join(20)
  assert not chief.is_alive() and chief.error is None


def test_a_chief_without_workers_ends_with_an_error(
  oracle, address, monkeypatch
):
  chief = _Chief(oracle, timeout=0.4)
  client = _client(monkeypatch, oracle, 'one', 0.4)
  chief.start()
  client.create_trial('one')
  chief.join(20)
  assert isinstance(chief.error, RuntimeError)
  assert 'no worker has called the chief at 127.0.0.1' in str(chief.error)
  assert 'trials done: 0 of 1 begun' in str(chief.error)
  # The next chief, of another process, gives the trial out again.
  again = _Chief(oracle, timeout=0.4)
  again.start()
  again.join(20)
  assert isinstance(again.error, RuntimeError)


def test_a_worker_that_comes_first_finds_its_chief_at_once(
  oracle, address, monkeypatch
):
  client = _client(monkeypatch, oracle, 'one', 2)
  found = []

  def ask():
    client.create_trial('one')
    found.append(time.monotonic())

  worker = threading.Thread(target=ask)
  worker.start()
  time.sleep(6)  # gRPC by itself would now wait for seconds.
  chief = _Chief(oracle, timeout=0.4)
  began = time.monotonic()
  chief.start()
  worker.join(20)
  chief.join(20)
  assert found and found[0] - began < 2.5


def test_a_worker_without_a_chief_ends_with_an_error(
  oracle, address, monkeypatch
):
  client = _client(monkeypatch, oracle, 'one', 0.1)
  with (
    pytest.raises(RuntimeError, match='the chief at'),
    client.calling(),
  ):
    pass


def test_one_of_two_processes_of_one_name_is_refused(
  oracle, address, monkeypatch
):
  chief = _Chief(oracle, timeout=1)
  first = _client(monkeypatch, oracle, 'one', 1)
  second = _client(monkeypatch, oracle, 'one', 1)
  chief.start()
  trial = first.create_trial('one')
  # As after a restart: it gets the trial of the one before.
  assert second.create_trial('one').trial_id == trial.trial_id
  with (
    pytest.raises(RuntimeError, match="a newer process has the name 'one'"),
    first.calling(),
  ):
    pass
  chief.join(20)


def test_failures_end_the_chief(oracle, address, monkeypatch):
  oracle.max_trials = 9
  chief = _Chief(oracle, timeout=1)
  client = _client(monkeypatch, oracle, 'one', 1)
  chief.start()
  with pytest.raises(RuntimeError, match='cannot go on'), client.calling():
    for _ in range(4):
      trial = client.create_trial('one')
      trial.status = 'FAILED'
      client.end_trial(trial)
  chief.join(20)
  assert 'consecutive failures' in str(chief.error)


def test_a_port_that_is_taken_is_named(oracle, address, monkeypatch):
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    monkeypatch.setenv('KERASTUNER_ORACLE_PORT', str(port))
    with pytest.raises(OSError, match=f'cannot listen at 127.0.0.1:{port}'):
      chief_of.serve(oracle, 1, print)


def test_half_of_the_environment_is_refused(monkeypatch, tmp_path):
  monkeypatch.setenv('KERASTUNER_ORACLE_IP', '127.0.0.1')
  with pytest.raises(ValueError, match='KERASTUNER_TUNER_ID must be set'):
    tuned.search(tmp_path / 'search')


def _start(name, directory, port, output):
  environment = {
    **os.environ,
    'KERASTUNER_TUNER_ID': name,
    'KERASTUNER_ORACLE_IP': '127.0.0.1',
    'KERASTUNER_ORACLE_PORT': str(port),
    'OMP_NUM_THREADS': '1',
  }
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.testing.tuned', str(directory), '3', '0.6'],
    stdout=output.open('w'),
    stderr=subprocess.STDOUT,
    env=environment,
    cwd=pathlib.Path(__file__).parents[2],
  )


def test_a_worker_that_is_killed_changes_nothing(tmp_path):
  """Chief and two workers as processes, one of which dies in mid-trial."""
  directory, port = tmp_path / 'search', _free_port()
  logs = {name: tmp_path / name for name in ('one', 'two', 'chief')}
  with contextlib.ExitStack() as stack:
    started = {}
    for name, log in logs.items():
      started[name] = _start(name, directory, port, log)
      stack.callback(started[name].kill)
    while 'epoch' not in logs['one'].read_text():
      assert started['one'].poll() is None, logs['one'].read_text()
      time.sleep(0.02)
    started['one'].send_signal(signal.SIGKILL)
    for name in ('two', 'chief'):
      assert started[name].wait(120) == 0, logs[name].read_text()
  said = logs['chief'].read_text()
  assert 'one has not called for 6 s: its trial' in said
  assert [said.count(f'trial {i} (') for i in range(3)] == [1] * 3
  shared = tuned.search(directory)
  assert len(shared.oracle.completed()) == 3
  alone = tuned.search(tmp_path / 'alone')
  tuned.run(alone)
  assert [t[1:] for t in tuned.found(alone)] == [
    (values, pytest.approx(score)) for _, values, score in tuned.found(shared)
  ]
  one, other = (made.get_best_tickets()[0] for made in (alone, shared))
  assert one.trial_id == other.trial_id
  for a, b in zip(one.model.get_weights(), other.model.get_weights()):
    assert (a == b).all()


def test_a_worker_that_sees_another_directory_is_told(
  oracle, address, monkeypatch, tmp_path
):
  chief = _Chief(oracle, timeout=1)
  chief.start()
  monkeypatch.setenv('KERASTUNER_TUNER_ID', 'one')
  worker = tuned.search(tmp_path / 'elsewhere', worker_timeout=1)
  with pytest.raises(tuner.SearchError, match='is not that of the chief'):
    tuned.run(worker)
  assert not (tmp_path / 'elsewhere').exists()
  chief.join(20)
