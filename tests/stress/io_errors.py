"""Lets calls of runs fail, one at a time, and sees what is left of their files.

    python -m tests.stress.io_errors --trials=40 --output=errors.json

Each kind of file is written again and again. Each time one call fails below
Python (`file_shim.c`): the first open, write, fsync, rename or mkdir, then the
second, and so on, with ENOSPC, EIO, EROFS, EACCES and EINTR in turn or, with
`--every_error`, with each of them. The error must be of a documented class, and
name a path and the reason; the files must have the last promised state or the
next one, and nothing half written beside them; and the next run must end.
"""

import dataclasses
import errno
import os
import pathlib
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator

from absl import flags

from recipes.common import files, provenance
from tests.stress import file_shim
from tests.stress.file_kind import Kind

_FLAGS = flags.FlagValues()
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Which error the first call gets.', 0, flag_values=_FLAGS
)
_EVERY_ERROR = flags.DEFINE_bool(
  'every_error', False, 'Each call, each error.', flag_values=_FLAGS
)
_TRIALS = flags.DEFINE_integer(
  'trials', 0, 'Calls of a kind at most; 0: all.', 0, flag_values=_FLAGS
)
_KINDS = flags.DEFINE_list(
  'kinds', [], 'Names of kinds; none: all.', flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'A JSON file to write.', flag_values=_FLAGS
)
ERRORS = ('ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EINTR')
# Words for a reason, where the system's own are not used.
_REASONS = {'ENOSPC': 'there is no room'}


@dataclasses.dataclass
class Row:
  """How runs with a failing call went.

  Args:
    kind: the name of the kind.
    calls: how many calls of a run can fail.
    trials: runs in which one failed.
    said: a documented error named path and reason.
    repeated: the run ended all the same: the call was made again, or what it
      was for was not needed.
    faults: what else was seen.
  """

  kind: str
  calls: int
  trials: int = 0
  said: int = 0
  repeated: int = 0
  faults: list[str] = dataclasses.field(default_factory=list)

  def __str__(self) -> str:
    return (
      f'| {self.kind} | {self.calls} | {self.trials} | {self.said} | '
      f'{self.repeated} | {len(self.faults)} |'
    )


class Trial:
  """A run in which one call fails.

  Args:
    kind: of the files.
    folder: for the files; what is there is deleted.
    shim: lets the call fail.
  """

  def __init__(self, kind: Kind, folder: pathlib.Path, shim: file_shim.Shim):
    self._kind, self._folder, self._shim = kind, folder, shim
    self.promised = 0
    self.refused = ''
    self.calls = 0

  def run(self, call: int, error: str | None) -> Exception | None:
    """Writes the kind; returns the error that it ended with, if any.

    Args:
      call: which call fails; the first is 1, and 0 none.
      error: the name of its `errno`.
    """
    shutil.rmtree(self._folder, ignore_errors=True)
    self._folder.mkdir()
    self.promised = 0
    self._shim.begin(self._folder, None)
    self._shim.refuse(call, getattr(errno, error) if error else 0)
    try:
      return self._write()
    finally:
      self.refused, self.calls = self._shim.refused, self._shim.seen
      self._shim.end()

  def _write(self) -> Exception | None:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      try:
        self._kind.write(self._folder, self._promise)
      except Exception as error:
        return error
    return None

  def _promise(self, state: int) -> None:
    self.promised = state

  def fault(self, error: str, raised: Exception | None) -> str | None:
    """Returns in words what is wrong after a run; `None` if all is right.

    Args:
      error: the name of the `errno`.
      raised: what the run ended with.
    """
    return (
      self._fault_of_error(error, raised)
      or self._fault_of_files(raised)
      or self._fault_of_next_run()
    )

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

  def _fault_of_files(self, raised: Exception | None) -> str | None:
    found = self._read()
    wanted = (self.promised, self.promised + 1)
    if raised is None:
      wanted = (self._kind.last,)
    if found not in wanted:
      return f'{self.promised} was promised, but found {found!r}'
    left = [
      str(path.relative_to(self._folder))
      for path in self._folder.rglob('*')
      if path.name.startswith('.') or 'tmp' in path.name
    ]
    return f'left {left}' if left else None

  def _fault_of_next_run(self) -> str | None:
    error = self._write()
    if error is not None:
      return f'the next run fails: {error!r}'
    found = self._read()
    if found != self._kind.last:
      return f'the next run ends with {found!r}'
    return None

  def _read(self) -> int | Exception:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      try:
        return self._kind.read(self._folder)
      except Exception as error:
        return error


def cases(
  calls: int, seed: int, most: int, every: bool
) -> Iterator[tuple[int, str]]:
  """Yields which call fails, and how: pairs of a number and an error's name.

  Args:
    calls: how many there are.
    seed: which error the first gets.
    most: how many calls fail at most, spread evenly; 0: all.
    every: whether each call gets each error.
  """
  count = min(calls, most or calls)
  for at in range(count):
    for number in range(len(ERRORS) if every else 1):
      yield 1 + at * calls // count, ERRORS[(seed + at + number) % len(ERRORS)]


def torment(
  kind: Kind, folder: pathlib.Path, seed: int, most: int, every: bool
) -> Row:
  """Lets the calls of one kind fail; returns what was seen.

  Args:
    kind: of the files.
    folder: for the files.
    seed: as in `cases`.
    most: as in `cases`.
    every: as in `cases`.

  Raises:
    RuntimeError: a run in which no call fails does not end.
  """
  trial = Trial(kind, folder, file_shim.Shim())
  raised = trial.run(0, None)
  if raised is not None or trial.promised != kind.last:
    raise RuntimeError(f'a run left alone ends at {trial.promised}') from raised
  row = Row(kind.name, trial.calls)
  for call, error in cases(row.calls, seed, most, every):
    raised = trial.run(call, error)
    row.trials += 1
    refused = trial.refused
    fault = trial.fault(error, raised)
    if not refused:
      fault = f'call {call} was not reached'
    if fault:
      row.faults.append(f'{error} at {refused}: {fault}')
      print(f'FAULT {kind.name}: {row.faults[-1]}', flush=True)
    elif raised is None:
      row.repeated += 1
    else:
      row.said += 1
  return row


def main(argv: list[str]) -> None:
  """Prints the table; leaves with 1 if anything went wrong."""
  file_shim.load('tests.stress.io_errors', argv[1:])
  _FLAGS(argv)
  # TensorFlow is slow to import, so not before the process has its shim.
  from tests.stress.file_kinds import KINDS

  begin, rows = time.monotonic(), []
  with tempfile.TemporaryDirectory() as folder:
    for number, kind in enumerate(made() for made in KINDS):
      if _KINDS.value and kind.name not in _KINDS.value:
        continue
      place = pathlib.Path(folder).resolve() / f'kind-{number}'
      arguments = _SEED.value, _TRIALS.value, _EVERY_ERROR.value
      rows.append(torment(kind, place, *arguments))
      print(rows[-1], f'{time.monotonic() - begin:.0f} s', flush=True)
  print(*rows, sep='\n')
  if _OUTPUT.value:
    content = {
      **provenance.record(),
      'seed': _SEED.value,
      'minutes': (time.monotonic() - begin) / 60,
      'kinds': [dataclasses.asdict(row) for row in rows],
    }
    files.write_json(pathlib.Path(_OUTPUT.value), content)
  sys.exit(any(row.faults for row in rows))


if __name__ == '__main__':
  main(sys.argv)
