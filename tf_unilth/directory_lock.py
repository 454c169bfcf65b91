"""A lock on a directory: one writer, who is named to the others."""

import json
import os
import pathlib
import socket
from typing import Any

from tf_unilth.checkpoint_file import CheckpointError

try:
  import fcntl
except ImportError:  # Windows.
  fcntl = None  # type: ignore[assignment]


class DirectoryInUseError(CheckpointError):
  """Another run writes into the directory.

  >>> directory = pathlib.Path(tempfile.mkdtemp())
  >>> lock = DirectoryLock(directory)
  >>> lock.acquire()
  >>> try:
  ...   DirectoryLock(directory).acquire()
  ... except DirectoryInUseError as error:
  ...   print(str(error).partition(': ')[2])
  two runs cannot write into one. Wait for it, or choose another.
  """


class DirectoryLock:
  """Lets one process at a time write into a directory.

  The kernel holds it (`flock`) for as long as the process lives, so one that
  was killed leaves nothing to clean up. The file `lock` in the directory says
  who holds it; that it is there means nothing. On NFS of Linux it holds between
  hosts too; on a network file system that does not support `flock` between
  hosts it holds between the processes of each host. Windows has none.

  Args:
    directory: an existing one.
  """

  def __init__(self, directory: pathlib.Path):
    self._path = directory / 'lock'
    self._file: Any = None

  def acquire(self) -> None:
    """Takes the lock.

    Raises:
      DirectoryInUseError: another has it.
    """
    self.release()  # Of a fit that died before it read data.
    file = open(self._path, 'a+')  # noqa: SIM115, it stays open.
    try:
      _lock(file)
    except OSError:
      file.seek(0)
      owner = _owner(file.read(1000))
      file.close()
      raise DirectoryInUseError(
        f'directory {str(self._path.parent)!r} is in use by {owner}: two runs '
        'cannot write into one. Wait for it, or choose another.'
      ) from None
    file.truncate(0)
    json.dump({'pid': os.getpid(), 'host': socket.gethostname()}, file)
    file.flush()
    self._file = file

  def release(self) -> None:
    """Gives the lock back, if it was taken."""
    if self._file is not None:
      self._file.close()
      self._file = None


def _lock(file: Any) -> None:
  if fcntl is not None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(text: str) -> str:
  try:
    owner = json.loads(text)
    return f'process {int(owner["pid"])} on host {owner["host"]!r}'
  except (ValueError, KeyError, TypeError):
    return 'another process'
