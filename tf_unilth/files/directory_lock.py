"""A lock on a directory: one writer, who is named to the others."""

import errno
import gc
import json
import os
import pathlib
import socket
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from tf_unilth.files.checkpoint_errors import (
  DirectoryInUseError,
)

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None  # type: ignore[assignment]

# What `flock` reports when another process has the lock.
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# What it reports on a file system that cannot lock.
_UNSUPPORTED = (
  errno.ENOTSUP,
  errno.EOPNOTSUPP,
  errno.ENOLCK,
  errno.ENOSYS,
  errno.EINVAL,
)


class DirectoryLock:
  """Lets one run at a time write into a directory.

  The kernel holds the lock (`flock`) for as long as the process lives, so one
  that was killed leaves nothing to clean up. The file `lock` in the directory
  says who holds it; that it is there means nothing. On NFS of Linux the lock
  holds between hosts too; on a network file system that does not support
  `flock` between hosts it holds between the processes of each host. Where
  `flock` is not supported at all, and on Windows, it holds within this process
  only; the former is warned of.

  Args:
    directory: an existing one.
  """

  def __init__(self, directory: pathlib.Path):
    self._path = directory / 'lock'
    self._file: Any = None
    self._is_running: Callable[[], bool] = _always

  def acquire(self, is_running: Callable[[], bool] | None = None) -> None:
    """Takes the lock.

    Args:
      is_running: whether the owner still runs. In this process a lock whose
        owner died without releasing it is taken over. `None`: the lock is held
        until it is released, or until the object is collected.

    Raises:
      DirectoryInUseError: another has it.
      OSError: the file cannot be written or locked.
    """
    self.release()
    file = self._open()
    try:
      with _taken.guard:
        _taken.check(file, self._path.parent)
        self._flock(file)
        self._file, self._is_running = file, is_running or _always
        _taken.locks[_key(file)] = self
      file.truncate(0)
      json.dump({'pid': os.getpid(), 'host': socket.gethostname()}, file)
      file.flush()
    except BaseException:
      self._file = None
      file.close()
      raise

  def release(self) -> None:
    """Gives the lock back, if it was taken."""
    if self._file is not None:
      self._file.close()
      self._file = None

  def __del__(self) -> None:
    self.release()

  def is_held(self) -> bool:
    """Returns whether it was taken, and its owner still runs."""
    return self._file is not None and self._is_running()

  def _open(self) -> Any:
    try:
      return open(self._path, 'a+')
    except OSError as error:
      raise self._failure(error) from None

  def _flock(self, file: Any) -> None:
    if fcntl is None:
      return
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _IN_USE:
        file.seek(0)
        owner = _owner(file.read(1000))
        raise _in_use(self._path.parent, owner) from None
      if error.errno not in _UNSUPPORTED:
        raise self._failure(error) from None
      self._warn(error)

  def _warn(self, error: OSError) -> None:
    directory = str(self._path.parent)
    if directory not in _taken.warned:
      _taken.warned.add(directory)
      warnings.warn(
        f'directory {directory!r} cannot be locked ({error.strerror}): its '
        'file system does not support flock. Another process that writes into '
        'it at the same time is not noticed.',
        stacklevel=5,
      )

  def _failure(self, error: OSError) -> OSError:
    return OSError(
      error.errno,
      f'directory {str(self._path.parent)!r} cannot be locked, since its file '
      f"'lock' cannot be used: {error.strerror}",
    )


class _Taken:
  """The locks that this process holds, by the device and inode of their files.

  `flock` does not tell which object of a process holds a lock, nor whether the
  run that took it is dead.
  """

  def __init__(self) -> None:
    self.guard = threading.Lock()
    self.locks: weakref.WeakValueDictionary[Any, DirectoryLock] = (
      weakref.WeakValueDictionary()
    )
    self.warned: set[str] = set()

  def check(self, file: Any, directory: pathlib.Path) -> None:
    """Raises if a lock is held; releases it if its owner is dead."""
    if self._is_held(file):
      gc.collect()  # Its owner may be garbage already.
      if self._is_held(file):
        owner = f'another run of this process ({os.getpid()})'
        raise _in_use(directory, owner)
    lock = self.locks.pop(_key(file), None)
    if lock is not None:
      lock.release()

  def _is_held(self, file: Any) -> bool:
    lock = self.locks.get(_key(file))
    return lock is not None and lock.is_held()

  def forget(self) -> None:
    """Closes the files in a forked process, which would keep them locked."""
    self.guard = threading.Lock()
    for lock in [*self.locks.values()]:
      lock.release()
    self.locks.clear()


_taken = _Taken()
if hasattr(os, 'register_at_fork'):
  os.register_at_fork(after_in_child=_taken.forget)


def _key(file: Any) -> tuple[int, int]:
  status = os.fstat(file.fileno())
  return status.st_dev, status.st_ino


def _always() -> bool:
  return True


def _in_use(directory: pathlib.Path, owner: str) -> DirectoryInUseError:
  return DirectoryInUseError(
    f'directory {str(directory)!r} is in use by {owner}: two runs cannot write '
    'into one. Wait for it, or choose another.'
  )


def _owner(text: str) -> str:
  try:
    owner = json.loads(text)
    return f'process {int(owner["pid"])} on host {owner["host"]!r}'
  except (ValueError, KeyError, TypeError):
    return 'another process'
