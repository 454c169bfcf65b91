"""Lets calls of runs fail, one at a time, and sees what is left of their files.

    python -m tests.stress.io_errors --every_error --output=errors.json

Each kind of file is written again and again. Each time one call fails below
Python (`file_shim.c`): the first open, write, fsync, rename or mkdir, then the
second, and so on, with ENOSPC, EIO, EROFS, EACCES and EINTR in turn or, with
`--every_error`, with each of them. The error must be of a documented class, and
name a path and the reason; the files must have the last promised state or the
next one, and nothing half written beside them; and the next run must end.

With `--output` each trial is written to OUTPUT.part when it has ended. The same
command continues from there, also with more `--trials`, and tries again what
found a fault.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

from absl import flags

from recipes.common import files, provenance
from tests.stress import file_shim, io_trial, kind_program
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
    minutes: that the trials took.
    faults: what else was seen.
  """

  kind: str
  calls: int
  trials: int = 0
  said: int = 0
  repeated: int = 0
  minutes: float = 0.0
  faults: list[str] = dataclasses.field(default_factory=list)

  def add(self, trial: dict[str, Any]) -> None:
    """Counts a trial of `Log`."""
    self.trials += 1
    self.minutes += trial['seconds'] / 60
    if trial['fault']:
      self.faults.append(
        f'{trial["error"]} at {trial["refused"]}: {trial["fault"]}'
      )
    elif trial['raised']:
      self.said += 1
    else:
      self.repeated += 1

  def __str__(self) -> str:
    return (
      f'| {self.kind} | {self.calls} | {self.trials} | {self.said} | '
      f'{self.repeated} | {len(self.faults)} |'
    )


class Log:
  """The trials that have ended, also those of a process that was stopped.

  Args:
    path: a file with a line of JSON for each; `None` for none.
  """

  def __init__(self, path: pathlib.Path | None):
    self._path = path
    self._commit = provenance.commit()
    self._trials: dict[tuple[str, int, str], dict[str, Any]] = {}
    if path is not None and path.exists():
      lines, _, _ = path.read_text().rpartition('\n')  # The rest is torn.
      files.write_text(path, lines + '\n' if lines else '')
      for line in lines.splitlines():
        self._put(json.loads(line))

  def _put(self, trial: dict[str, Any]) -> None:
    self._trials[trial['kind'], trial['call'], trial['error']] = trial

  @property
  def commits(self) -> list[str]:
    """The commits of the trials, which differ where a run was stopped."""
    return list(dict.fromkeys(t['commit'] for t in self._trials.values()))

  def find(self, kind: str, call: int, error: str) -> dict[str, Any] | None:
    """Returns a trial that found no fault, if there is one."""
    trial = self._trials.get((kind, call, error))
    return None if trial is None or trial['fault'] else trial

  def cases(self, kind: str) -> Iterator[tuple[int, str]]:
    """Yields calls and errors of all trials of a kind."""
    for name, call, error in self._trials:
      if name == kind:
        yield call, error

  def add(self, trial: dict[str, Any]) -> None:
    """Adds a trial."""
    trial['commit'] = self._commit
    self._put(trial)
    if self._path is not None:
      with open(self._path, 'a') as file:
        file.write(json.dumps(trial) + '\n')

  def delete(self) -> None:
    """Deletes the file."""
    if self._path is not None:
      self._path.unlink(missing_ok=True)


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
    # The error is that of the call, so that all calls can follow on a part.
    call = at * calls // count
    for number in range(len(ERRORS) if every else 1):
      yield 1 + call, ERRORS[(seed + call + number) % len(ERRORS)]


def torment(kind: Kind, folder: pathlib.Path, log: Log) -> Row:
  """Lets the calls of one kind fail; returns what was seen.

  Args:
    kind: of the files.
    folder: for the files.
    log: has the trials that have ended, and gets the others.

  Raises:
    RuntimeError: a run in which no call fails does not end.
  """
  trials = io_trial.Trials(kind, folder, file_shim.Shim())
  kind_program.collect_rarely()  # What the first run has imported.
  row = Row(kind.name, trials.calls)
  arguments = _SEED.value, _TRIALS.value, _EVERY_ERROR.value
  wanted = [*cases(trials.calls, *arguments), *log.cases(kind.name)]
  for call, error in dict.fromkeys(wanted):
    if call > trials.calls:  # Of an older commit.
      continue
    trial = log.find(kind.name, call, error)
    if trial is None:
      trial = {'kind': kind.name, 'call': call, 'error': error}
      begin = time.monotonic()
      raised, fault = trials.run(call, error)
      refused = trials.refused.replace(str(folder), '')
      trial |= {'refused': refused, 'raised': raised is not None}
      trial |= {'fault': fault, 'seconds': time.monotonic() - begin}
      log.add(trial)
      if fault:
        print(f'FAULT {kind.name} {call}, {error} at {refused}: {fault}')
    row.add(trial)
  return row


def _rows(kinds: Iterable[Kind], log: Log) -> Iterator[Row]:
  with tempfile.TemporaryDirectory() as folder:
    for kind in kinds:
      # Errors must have this name.
      name = f'kind-{kind.name.replace(" ", "-")}'
      place = pathlib.Path(folder).resolve() / name
      row = torment(kind, place, log)
      print(row, f'{row.minutes:.1f} minutes', flush=True)
      yield row


def main(argv: list[str]) -> None:
  """Prints the table; leaves with 1 if anything went wrong."""
  file_shim.load('tests.stress.io_errors', argv[1:])
  _FLAGS(argv)
  output = _OUTPUT.value
  log = Log(pathlib.Path(output + '.part') if output else None)
  rows = [*_rows(kind_program.kinds(_KINDS.value), log)]
  found: dict[str, Any] = {
    'seed': _SEED.value,
    'every_error': _EVERY_ERROR.value,
  }
  if not any(row.faults for row in rows):
    log.delete()
  minutes = sum(row.minutes for row in rows)
  found['commits'] = log.commits
  kind_program.finish(rows, output, **found, minutes=minutes)


if __name__ == '__main__':
  main(sys.argv)
