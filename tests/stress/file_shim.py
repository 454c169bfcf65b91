"""Loads `file_shim.c` into a process, and reads what it recorded.

A program calls `load` first: the process then starts again with the compiled
shim in LD_PRELOAD, because a library that is loaded later replaces nothing.
"""

import ctypes
import dataclasses
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

_SOURCE = pathlib.Path(__file__).with_name('file_shim.c')
_LOADED = 'TF_UNILTH_FILE_SHIM'  # The variable with the path of the library.
_HEAD = struct.Struct('<iIIiqq')
OPERATIONS = (
  *('open', 'write', 'size', 'fsync', 'close'),
  *('rename', 'unlink', 'mkdir', 'mark'),
)


def missing() -> str | None:
  """Returns why the shim cannot be used on this machine; `None` if it can."""
  if not sys.platform.startswith('linux'):
    return f'file_shim.c is for Linux, but this is {sys.platform}'
  if _compiler() is None:
    return 'file_shim.c needs a C compiler: there is no cc, gcc or clang here'
  return None


def _compiler() -> str | None:
  found = (shutil.which(name) for name in ('cc', 'gcc', 'clang'))
  return next((path for path in found if path), None)


def load(module: str, arguments: Sequence[str]) -> None:
  """Starts the process again with the shim, unless it is loaded.

  Args:
    module: the program, for `python -m`.
    arguments: its arguments.

  Raises:
    SystemExit: there is no C compiler, or this is not Linux.
  """
  if _LOADED in os.environ:
    return
  reason = missing()
  if reason:
    sys.exit(reason)
  environment = compiled(pathlib.Path(tempfile.mkdtemp(prefix='file_shim-')))
  sys.stdout.flush()
  os.execve(
    sys.executable, [sys.executable, '-m', module, *arguments], environment
  )


def compiled(folder: pathlib.Path) -> dict[str, str]:
  """Compiles the shim; returns the environment of a process that has it.

  Args:
    folder: for the library.
  """
  library = os.path.join(folder, 'file_shim.so')
  command = [str(_compiler()), '-O1', '-shared', '-fPIC', str(_SOURCE)]
  subprocess.run([*command, '-o', library, '-ldl', '-lpthread'], check=True)
  return {**os.environ, 'LD_PRELOAD': library, _LOADED: library}


@dataclasses.dataclass(frozen=True)
class Operation:
  """A call that succeeded, as the shim recorded it.

  Args:
    name: one of `OPERATIONS`.
    number: the file descriptor; of a mark, its number.
    value: the offset of a write, the size of a file, the flags of an open.
    first: the path, or the bytes that were written.
    second: the new path of a rename.
  """

  name: str
  number: int
  value: int
  first: bytes
  second: bytes


class Shim:
  """The shim that `load` has loaded into this process."""

  def __init__(self) -> None:
    self._library = ctypes.CDLL(os.environ[_LOADED])
    self._library.shim_refused.restype = ctypes.c_char_p
    self._library.shim_seen.restype = ctypes.c_long

  def begin(self, folder: pathlib.Path, log: pathlib.Path | None) -> None:
    """Begins to watch a folder.

    Args:
      folder: an absolute path without links.
      log: the file for the records, outside of the folder; `None` for none.
    """
    name = None if log is None else os.fsencode(log)
    if not self._library.shim_begin(os.fsencode(folder), name):
      raise OSError(f'log {str(log)!r} cannot be written.')

  def end(self) -> None:
    """Stops watching, and refuses nothing any more."""
    self._library.shim_end()

  def mark(self, number: int) -> None:
    """Records a number, such as that of a state that is promised."""
    self._library.shim_mark(ctypes.c_long(number))

  def refuse(self, call: int, error: int) -> None:
    """Lets one call in the folder fail: an open, write, fsync, rename or mkdir.

    Args:
      call: which one, from now on; the first is 1, and 0 refuses none.
      error: the `errno`. With ENOSPC a write writes half, and all later ones
        fail, until `end`.
    """
    self._library.shim_refuse(ctypes.c_long(call), error)

  @property
  def seen(self) -> int:
    """How many calls since `refuse` could have been refused."""
    return int(self._library.shim_seen())

  @property
  def refused(self) -> str:
    """The call that was refused and its path; empty if none was."""
    return os.fsdecode(self._library.shim_refused())


def read(log: pathlib.Path) -> Iterator[Operation]:
  """Yields the operations of a log.

  Args:
    log: the file that `Shim.begin` was given.
  """
  data = log.read_bytes()
  at = 0
  while at < len(data):
    kind, first, second, _, number, value = _HEAD.unpack_from(data, at)
    at += _HEAD.size
    middle, end = at + first, at + first + second
    yield Operation(
      OPERATIONS[kind - 1], number, value, data[at:middle], data[middle:end]
    )
    at = end
