"""What is asked of a kind of file whose writing is disturbed."""

import pathlib
import shutil
import warnings
from collections.abc import Callable, Mapping
from typing import Protocol

Promise = Callable[[int], None]
# What a folder has, by relative path; `None` is a folder in it.
Contents = Mapping[str, bytes | None]


class Kind(Protocol):
  """A kind of file.

  It writes states 1, 2 and so on into a folder, and says when each is promised;
  it goes on from whatever the folder has. It reads which state a folder has.
  """

  name: str
  last: int  # The state that a whole `write` ends with.
  # Whether one state is written as any other, by a call of its own.
  each_alone: bool
  # What `read` raises for damaged files, and `write` for refused calls.
  read_errors: tuple[type[Exception], ...]
  write_errors: tuple[type[Exception], ...]

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    """Writes all states that are left.

    Args:
      folder: for the files.
      promise: is called with each state that is promised.
      done: the state that the folder has; kinds that are not `each_alone` see
        themselves what they have.
    """

  def read(self, folder: pathlib.Path) -> int:
    """Returns the state that is there; 0 is none."""


class Runs:
  """Runs that write and read a kind in one folder, without warnings.

  Args:
    kind: of the files.
    folder: for the files.
  """

  def __init__(self, kind: Kind, folder: pathlib.Path):
    self.kind, self.folder = kind, folder

  def write(self, promise: Promise, done: int) -> Exception | None:
    """Writes the states that are left; returns the error that it ends with.

    Args:
      promise: as of `Kind.write`.
      done: as of `Kind.write`.
    """
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      try:
        self.kind.write(self.folder, promise, done)
      except Exception as error:
        return error
    return None

  def read(self) -> int | Exception:
    """Returns the state that is there, or the error of its reader."""
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      try:
        return self.kind.read(self.folder)
      except Exception as error:
        return error

  def fault_of_next_run(self, done: int) -> str | None:
    """Continues to the end; returns in words what went wrong, if anything did.

    Args:
      done: the state that is there.
    """
    error = self.write(lambda state: None, done)
    if error is not None:
      return f'the next run fails: {error!r}'
    found = self.read()
    if found != self.kind.last:
      return f'the next run ends with {found!r}, not {self.kind.last}'
    return None


def contents(folder: pathlib.Path) -> dict[str, bytes | None]:
  """Returns what a folder has."""
  return {
    str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
    for path in sorted(folder.rglob('*'))
  }


def put(files: Contents, folder: pathlib.Path) -> None:
  """Makes a folder that has these files and no others."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  for path in sorted(files):
    content = files[path]
    if content is None:
      (folder / path).mkdir()
    else:
      (folder / path).write_bytes(content)
