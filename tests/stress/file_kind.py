"""What is asked of a kind of file whose writing is disturbed."""

import pathlib
from collections.abc import Callable
from typing import Protocol

Promise = Callable[[int], None]


class Kind(Protocol):
  """A kind of file.

  It writes states 1, 2 and so on into a folder, and says when each is promised;
  it goes on from whatever the folder has. It reads which state a folder has.
  """

  name: str
  last: int  # The state that a whole `write` ends with.
  # What `read` raises for damaged files, and `write` for refused calls.
  read_errors: tuple[type[Exception], ...]
  write_errors: tuple[type[Exception], ...]

  def write(self, folder: pathlib.Path, promise: Promise) -> None:
    """Writes all states that are left."""

  def read(self, folder: pathlib.Path) -> int:
    """Returns the state that is there; 0 is none."""
