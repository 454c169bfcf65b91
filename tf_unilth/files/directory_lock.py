"""A lock that lets one run write to a directory and names it to others."""

import contextlib
import errno
import gc
import json
import os
import pathlib
import socket
import weakref
from collections.abc import Callable

import filelock

from tf_unilth.files import format_version
from tf_unilth.files.checkpoint_errors import DirectoryInUseError
from tf_unilth.user_warning import warn_user

# The locked file and the file that names the owner. They are two files because
# Windows lets no other process read a locked one.
LOCK_FILES = ('lock', 'lock-owner.json')
_VERSION = 1  # Of the owner's file.
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

  The lock is a `filelock.FileLock` on the file `lock`, which the system
  releases when the process ends, so a killed process leaves nothing to clean
  up: the existence of the files does not mean that the directory is locked. A
  forked process does not have the lock. On NFS under Linux the lock also works
  between hosts. On a network file system that does not support `flock` between
  hosts, it works between the processes of each host. Where `flock` is not
  supported at all, it works within this process only, and a warning says so.

  Args:
    directory: an existing directory.

  >>> with tempfile.TemporaryDirectory() as directory:
  ...   lock = DirectoryLock(directory)
  ...   lock.acquire()
  ...   held = lock.is_held()
  ...   lock.release()
  >>> held, lock.is_held()
  (True, False)
  """

  def __init__(self, directory: str | os.PathLike[str]):
    self._directory = pathlib.Path(directory)
    self._path, self._owner = (self._directory / name for name in LOCK_FILES)
    self._lock: filelock.BaseFileLock | None = None
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
      OSError: the lock's files cannot be written or locked.
    """
    self.release()
    # Not thread-local, because any thread may release it. The soft lock of the
    # package would outlive a killed process on another host.
    lock = filelock.FileLock(
      self._path, blocking=False, thread_local=False, fallback_to_soft=False
    )
    try:
      key = _key(self._directory)
      self._take_over(key)
      self._acquire_file(lock)
      owner = {
        format_version.KEY: _VERSION,
        'pid': os.getpid(),
        'host': socket.gethostname(),
      }
      self._owner.write_text(json.dumps(owner))
    except filelock.Timeout:
      raise self._in_use_error(self._read_owner()) from None
    except OSError as error:
      lock.release()
      raise OSError(
        error.errno,
        f'directory {str(self._directory)!r} cannot be locked, because its '
        f"file 'lock' cannot be used: {error.strerror}",
      ) from None
    self._lock, self._is_running = lock, is_running or _always_running
    _acquired[key] = self

  def release(self) -> None:
    """Releases the lock if this object has it."""
    # A forked process has the object, but not the lock.
    if self._lock is not None and self._lock.is_locked:
      with contextlib.suppress(OSError):
        self._owner.unlink()
      self._lock.release()
    self._lock = None

  def is_held(self) -> bool:
    """Returns whether this object has the lock and its owner still runs."""
    return self._lock is not None and self._is_running()

  def _take_over(self, key: tuple[int, ...]) -> None:
    """Releases the lock of an owner in this process that has ended."""
    if _is_held(key):
      gc.collect()  # Its owner may be garbage already.
    if _is_held(key):
      owner = f'another run of this process ({os.getpid()})'
      raise self._in_use_error(owner)
    lock = _acquired.pop(key, None)
    if lock is not None:
      lock.release()

  def _acquire_file(self, lock: filelock.BaseFileLock) -> None:
    try:
      lock.acquire()
    except OSError as error:
      if error.errno not in _UNSUPPORTED:
        raise
      self._warn_unsupported(error)

  def _warn_unsupported(self, error: OSError) -> None:
    directory = str(self._directory)
    if directory not in _warned:
      _warned.add(directory)
      warn_user(
        f'directory {directory!r} cannot be locked ({error.strerror}): its '
        'file system does not support flock. A second process that writes to '
        'it at the same time is not detected.',
      )

  def _in_use_error(self, owner: str) -> DirectoryInUseError:
    return DirectoryInUseError(
      f'directory {str(self._directory)!r} is in use by {owner}: two runs '
      'cannot write to one directory. Wait until it ends, or choose another.'
    )

  def _read_owner(self) -> str:
    try:
      owner = json.loads(self._owner.read_text())
      format_version.check(owner.get(format_version.KEY, _VERSION), _VERSION)
      return f'process {int(owner["pid"])} on host {owner["host"]!r}'
    except format_version.VersionError as error:
      return f'another process ({self._owner.name}: {str(error)[:-1]})'
    # Any text may stand there, such as JSON that is nested too deeply.
    except Exception:
      return 'another process'


# A lock of the system does not show which object of a process has it, nor
# whether the run that acquired it has ended.
_acquired: weakref.WeakValueDictionary[tuple[int, ...], DirectoryLock] = (
  weakref.WeakValueDictionary()
)
_warned: set[str] = set()


def _key(directory: pathlib.Path) -> tuple[int, ...]:
  """Returns what identifies a directory under all its paths.

  The process is a part of it, because a forked one does not have the locks.
  """
  status = os.stat(directory)
  return os.getpid(), status.st_dev, status.st_ino


def _is_held(key: tuple[int, ...]) -> bool:
  lock = _acquired.get(key)
  return lock is not None and lock.is_held()


def _always_running() -> bool:
  return True
