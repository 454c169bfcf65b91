"""A lock that lets one run write to a directory and names it to others."""

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

from tf_unilth.files.checkpoint_errors import DirectoryInUseError

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None  # type: ignore[assignment]

# Errors of `flock` if another process has the lock.
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# Errors of `flock` on a file system without locks.
_UNSUPPORTED = (
  errno.ENOTSUP,
  errno.EOPNOTSUPP,
  errno.ENOLCK,
  errno.ENOSYS,
  errno.EINVAL,
)


class DirectoryLock:
  """Lets one run at a time write to a directory.

  The lock is a `flock`, which the kernel releases when the process ends, so a
  killed process leaves nothing to clean up. The file `lock` in the directory
  names the owner; its existence does not mean that the directory is locked. On
  NFS under Linux the lock also works between hosts. On a network file system
  that does not support `flock` between hosts, it works between the processes
  of each host. Where `flock` is not supported at all, and on Windows, it works
  within this process only; the former causes a warning.

  Args:
    directory: an existing directory.
  """

  def __init__(self, directory: pathlib.Path):
    self._path = directory / 'lock'
    self._file: Any = None
    self._is_running: Callable[[], bool] = _always_running

  def acquire(self, is_running: Callable[[], bool] | None = None) -> None:
    """Acquires the lock.

    Args:
      is_running: returns whether the owner still runs. Another run in this
        process takes over the lock of an owner that ended without releasing
        it. `None`: the lock is kept until it is released or this object is
        garbage-collected.

    Raises:
      DirectoryInUseError: another run has the lock.
      OSError: the file `lock` cannot be written or locked.
    """
    self.release()
    file = self._open()
    try:
      with _held_locks.guard:
        _held_locks.check(file, self._path.parent)
        self._flock(file)
        self._file, self._is_running = file, is_running or _always_running
        _held_locks.locks[_key(file)] = self
      file.truncate(0)
      json.dump({'pid': os.getpid(), 'host': socket.gethostname()}, file)
      file.flush()
    except BaseException:
      self._file = None
      file.close()
      raise

  def release(self) -> None:
    """Releases the lock if this object has it."""
    if self._file is not None:
      self._file.close()
      self._file = None

  def __del__(self) -> None:
    self.release()

  def is_held(self) -> bool:
    """Returns whether this object has the lock and its owner still runs."""
    return self._file is not None and self._is_running()

  def _open(self) -> Any:
    try:
      return open(self._path, 'a+')
    except OSError as error:
      raise self._lock_error(error) from None

  def _flock(self, file: Any) -> None:
    if fcntl is None:
      return
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _IN_USE:
        file.seek(0)
        owner = _describe_owner(file.read(1000))
        raise _in_use_error(self._path.parent, owner) from None
      if error.errno not in _UNSUPPORTED:
        raise self._lock_error(error) from None
      self._warn_unsupported(error)

  def _warn_unsupported(self, error: OSError) -> None:
    directory = str(self._path.parent)
    if directory not in _held_locks.warned:
      _held_locks.warned.add(directory)
      warnings.warn(
        f'directory {directory!r} cannot be locked ({error.strerror}): its '
        'file system does not support flock. A second process that writes to '
        'it at the same time is not detected.',
        stacklevel=5,
      )

  def _lock_error(self, error: OSError) -> OSError:
    return OSError(
      error.errno,
      f'directory {str(self._path.parent)!r} cannot be locked, because its '
      f"file 'lock' cannot be used: {error.strerror}",
    )


class _HeldLocks:
  """The locks of this process, by the device and inode of their files.

  `flock` alone does not show which object of a process has a lock, nor whether
  the run that acquired it has ended.
  """

  def __init__(self) -> None:
    self.guard = threading.Lock()
    self.locks: weakref.WeakValueDictionary[Any, DirectoryLock] = (
      weakref.WeakValueDictionary()
    )
    self.warned: set[str] = set()

  def check(self, file: Any, directory: pathlib.Path) -> None:
    """Raises an error if a file is locked; releases a dead owner's lock."""
    if self._is_held(file):
      gc.collect()  # Its owner may be garbage already.
      if self._is_held(file):
        owner = f'another run of this process ({os.getpid()})'
        raise _in_use_error(directory, owner)
    lock = self.locks.pop(_key(file), None)
    if lock is not None:
      lock.release()

  def _is_held(self, file: Any) -> bool:
    lock = self.locks.get(_key(file))
    return lock is not None and lock.is_held()

  def forget(self) -> None:
    """Closes the files in a forked process, which would keep the locks."""
    self.guard = threading.Lock()
    for lock in [*self.locks.values()]:
      lock.release()
    self.locks.clear()


_held_locks = _HeldLocks()
if hasattr(os, 'register_at_fork'):
  os.register_at_fork(after_in_child=_held_locks.forget)


def _key(file: Any) -> tuple[int, int]:
  status = os.fstat(file.fileno())
  return status.st_dev, status.st_ino


def _always_running() -> bool:
  return True


def _in_use_error(directory: pathlib.Path, owner: str) -> DirectoryInUseError:
  return DirectoryInUseError(
    f'directory {str(directory)!r} is in use by {owner}: two runs cannot write '
    'to one directory. Wait until it ends, or choose another.'
  )


def _describe_owner(text: str) -> str:
  try:
    owner = json.loads(text)
    return f'process {int(owner["pid"])} on host {owner["host"]!r}'
  except (ValueError, KeyError, TypeError):
    return 'another process'
