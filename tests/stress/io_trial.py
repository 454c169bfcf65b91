"""A run in which one call fails, and what must be left of its files."""

import dataclasses
import errno
import hashlib
import os
import pathlib
from collections.abc import Iterator

from tests.stress import file_kind, file_shim
from tests.stress.file_kind import Contents, Kind, Runs

# Words for a reason, where the system's own are not used.
_REASONS = {'ENOSPC': 'there is no room'}


class _Reached(Exception):
  """The state that a part of a run ends with is promised."""


@dataclasses.dataclass(frozen=True)
class Part:
  """A part of a run, all of whose calls fail in turn.

  A kind that writes each state alone has a part for each, so that the states
  before are not written again for each call. Other kinds have one.

  Args:
    begin: the state that it begins with.
    end: the state that it ends with.
    files: what the folder has when it begins.
    calls: how many of its calls can fail.
  """

  begin: int
  end: int
  files: Contents
  calls: int = 0


class Trials:
  """Runs of one kind in which one call fails.

  Args:
    kind: of the files.
    folder: for the files; what is there is deleted.
    shim: lets the call fail.
  """

  def __init__(self, kind: Kind, folder: pathlib.Path, shim: file_shim.Shim):
    self._kind, self._folder, self._shim = kind, folder, shim
    self._runs = Runs(kind, folder)
    self._promised = 0
    # What was seen of files, and of runs that continued from them.
    self._judged: dict[object, str | None] = {}
    self._continued: dict[object, str | None] = {}
    self.refused = ''
    self._parts = list(self._whole_run())
    self.calls = sum(part.calls for part in self._parts)

  def _whole_run(self) -> Iterator[Part]:
    """Yields the parts of a run in which no call fails.

    Raises:
      RuntimeError: it does not end with its last state.
    """
    files: Contents = {}
    last = self._kind.last
    for begin in range(last) if self._kind.each_alone else (0,):
      end = begin + 1 if self._kind.each_alone else last
      part = Part(begin, end, files)
      raised = self._run(part, 0, 0)
      if raised is not None or self._promised != end:
        raise RuntimeError(f'a run ends at {self._promised}') from raised
      files = file_kind.contents(self._folder)
      yield dataclasses.replace(part, calls=self._shim.seen)

  def run(self, call: int, error: str) -> tuple[Exception | None, str | None]:
    """Lets a call fail.

    Args:
      call: which one; the first is 1.
      error: the name of its `errno`.

    Returns:
      The error that the run ended with, if any, and in words what was wrong, if
      anything was.
    """
    for part in self._parts:
      if call <= part.calls:
        break
      call -= part.calls
    raised = self._run(part, call, getattr(errno, error))
    self.refused = self._shim.refused
    if not self.refused:
      return raised, f'call {call} was not reached'
    fault = self._fault_of_error(error, raised)
    return raised, fault or self._fault_of_files(part, raised)

  def _run(self, part: Part, call: int, number: int) -> Exception | None:
    file_kind.put(part.files, self._folder)
    self._promised = part.begin

    def promise(state: int) -> None:
      self._promised = state
      # The calls after it are those of the next part.
      if self._kind.each_alone and state == part.end:
        raise _Reached

    self._shim.begin(self._folder, None)
    self._shim.refuse(call, number)
    try:
      raised = self._runs.write(promise, part.begin)
    finally:
      self._shim.end()
    return None if isinstance(raised, _Reached) else raised

  def _fault_of_error(self, error: str, raised: Exception | None) -> str | None:
    if raised is None:
      return None
    if not isinstance(raised, self._kind.write_errors):
      return f'not a documented error: {raised!r}'
    reasons = (os.strerror(getattr(errno, error)), _REASONS.get(error, '\0'))
    text = str(raised)
    if not any(reason in text for reason in reasons):
      return f'no reason in the error: {text}'
    if self._folder.name not in text:
      return f'no path in the error: {text}'
    return None

  def _fault_of_files(self, part: Part, raised: Exception | None) -> str | None:
    files = file_kind.contents(self._folder)
    wanted = (self._promised, self._promised + 1)
    if raised is None:
      wanted = (part.end,)
    # The same files were judged before.
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).digest()
    if (digest, wanted) not in self._judged:
      self._judged[digest, wanted] = self._judge(files, wanted)
    return self._judged[digest, wanted]

  def _judge(self, files: Contents, wanted: tuple[int, ...]) -> str | None:
    found = self._runs.read()
    if isinstance(found, Exception) or found not in wanted:
      return f'{wanted[0]} was promised, but found {found!r}'
    names = {name: name.rpartition('/')[2] for name in files}
    left = [n for n in names if names[n].startswith('.') or 'tmp' in names[n]]
    if left:
      return f'left {left}'
    # Files of one state differ in times, and in names of functions.
    sizes = {name: content and len(content) for name, content in files.items()}
    alike = found, repr(sorted(sizes.items()))
    if alike not in self._continued:
      self._continued[alike] = self._runs.fault_of_next_run(found)
    return self._continued[alike]
