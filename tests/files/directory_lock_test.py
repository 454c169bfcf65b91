"""DirectoryLock: who is refused, and what is no lock at all."""

import errno
import gc
import json
import os
import re
import socket
import subprocess
import sys
import threading
import warnings

import pytest

from tf_unilth.files.checkpoint_errors import DirectoryInUseError
from tf_unilth.files.directory_lock import DirectoryLock

fcntl = pytest.importorskip('fcntl')


def _failing_flock(monkeypatch, number):
  def flock(file, operation):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, 'flock', flock)


def test_a_lock_that_is_held_is_refused_in_the_same_process(tmp_path):
  lock = DirectoryLock(tmp_path)
  lock.acquire()
  match = rf'in use by another run of this process \({os.getpid()}\)'
  with pytest.raises(DirectoryInUseError, match=match):
    DirectoryLock(tmp_path).acquire()
  (tmp_path / 'link').symlink_to(tmp_path)
  with pytest.raises(DirectoryInUseError, match=match):  # By another path.
    DirectoryLock(tmp_path / 'link').acquire()
  lock.release()
  DirectoryLock(tmp_path).acquire()


def test_a_lock_whose_owner_is_dead_is_taken_over(tmp_path):
  alive = True
  first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
  first.acquire(lambda: alive)
  with pytest.raises(DirectoryInUseError):
    second.acquire()
  alive = False
  second.acquire()
  first.release()  # Late: it must not release what the second holds.
  assert (tmp_path / 'lock-owner.json').exists()
  with pytest.raises(DirectoryInUseError):
    DirectoryLock(tmp_path).acquire()


def test_a_lock_that_is_garbage_is_no_lock(tmp_path):
  lock = DirectoryLock(tmp_path)
  lock.acquire()
  cycle = [lock]
  cycle.append(cycle)
  gc.disable()
  try:
    del lock, cycle
    DirectoryLock(tmp_path).acquire()
  finally:
    gc.enable()


@pytest.mark.parametrize(
  'name', ['ENOTSUP', 'EOPNOTSUPP', 'ENOLCK', 'ENOSYS', 'EINVAL']
)
def test_a_file_system_that_cannot_lock_is_warned_of_once(
  name, tmp_path, monkeypatch
):
  number = getattr(errno, name)
  _failing_flock(monkeypatch, number)
  lock = DirectoryLock(tmp_path)
  match = 'cannot be locked .*support flock'
  with pytest.warns(UserWarning, match=match) as warned:
    lock.acquire()
  assert warned[0].filename == __file__
  with pytest.raises(DirectoryInUseError, match='this process'):
    DirectoryLock(tmp_path).acquire()
  lock.release()
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    DirectoryLock(tmp_path).acquire()


@pytest.mark.parametrize('name', ['EWOULDBLOCK', 'EAGAIN', 'EACCES'])
def test_what_means_in_use_is_refused(name, tmp_path, monkeypatch):
  _failing_flock(monkeypatch, getattr(errno, name))
  with pytest.raises(DirectoryInUseError, match='in use by another process'):
    DirectoryLock(tmp_path).acquire()


def test_other_errors_say_their_own_reason(tmp_path, monkeypatch):
  _failing_flock(monkeypatch, errno.EIO)
  with pytest.raises(OSError, match=r'cannot be locked.*Input/output') as io:
    DirectoryLock(tmp_path).acquire()
  assert io.value.errno == errno.EIO

  def refuse(*args):
    raise PermissionError(errno.EACCES, 'Permission denied')

  monkeypatch.setattr(os, 'open', refuse)
  with pytest.raises(PermissionError, match=r'cannot be locked.*Permission'):
    DirectoryLock(tmp_path).acquire()


_HOLDS = """
import pathlib, sys
from tf_unilth.files.directory_lock import DirectoryLock
lock = DirectoryLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print('locked', flush=True)
sys.stdin.read()
"""


def test_a_killed_process_is_named_while_it_runs_and_leaves_no_lock(tmp_path):
  command = [sys.executable, '-c', _HOLDS, str(tmp_path)]
  pipe = subprocess.PIPE
  with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as run:
    assert run.stdout.readline() == 'locked\n'
    words = f'in use by process {run.pid} on host {socket.gethostname()!r}'
    with pytest.raises(DirectoryInUseError, match=re.escape(words)):
      DirectoryLock(tmp_path).acquire()
    run.kill()
  lock = DirectoryLock(tmp_path)
  lock.acquire()
  owner = json.loads((tmp_path / 'lock-owner.json').read_text())
  assert owner == {
    'format_version': 1,
    'pid': os.getpid(),
    'host': socket.gethostname(),
  }
  lock.release()
  assert [path.name for path in tmp_path.iterdir()] == ['lock']


def test_any_thread_releases_the_lock(tmp_path):
  lock = DirectoryLock(tmp_path)
  lock.acquire()
  thread = threading.Thread(target=lock.release)
  thread.start()
  thread.join()
  assert not (tmp_path / 'lock-owner.json').exists()
  DirectoryLock(tmp_path).acquire()


def test_an_owner_that_cannot_be_named_has_no_lock(tmp_path):
  (tmp_path / 'lock-owner.json').mkdir()
  # The traceback of an error that is kept does not keep the lock.
  with pytest.raises(OSError, match='cannot be locked') as kept:
    DirectoryLock(tmp_path).acquire()
  (tmp_path / 'lock-owner.json').rmdir()
  DirectoryLock(tmp_path).acquire()
  assert kept.value.errno == errno.EISDIR


_FORKS = """
import os, pathlib, signal, sys
from tf_unilth.files.directory_lock import DirectoryInUseError, DirectoryLock
directory = pathlib.Path(sys.argv[1])
lock = DirectoryLock(directory)
lock.acquire()
child = os.fork()
if not child:
  try:
    DirectoryLock(directory).acquire()
  except DirectoryInUseError as error:
    print('child:', f'process {os.getppid()} ' in str(error), flush=True)
  lock.release()
  del lock
  print('named:', (directory / 'lock-owner.json').exists(), flush=True)
  signal.pause()
read = os.read(0, 1)
lock.release()
try:
  DirectoryLock(directory).acquire()
  print('parent: taken', flush=True)
finally:
  os.kill(child, signal.SIGKILL)
"""


@pytest.mark.long
def test_a_forked_process_neither_holds_nor_gets_the_lock(tmp_path):
  command = [sys.executable, '-c', _FORKS, str(tmp_path)]
  pipe = subprocess.PIPE
  with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as run:
    assert run.stdout.readline() == 'child: True\n'
    assert run.stdout.readline() == 'named: True\n'
    run.stdin.write('.')
    run.stdin.close()
    assert run.stdout.readline() == 'parent: taken\n'
