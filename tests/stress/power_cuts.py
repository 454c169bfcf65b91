"""Cuts the power of runs, and sees what is left of their files.

    python -m tests.stress.power_cuts --cuts=1000 --seed=0 --output=cuts.json

Each kind of file is written once, and what the process does to its files is
recorded (`file_shim.c`). Then the disk after a power cut at a random operation
is made (`power_disk`): what was not synchronised is lost, torn or reordered.
The last state that was promised, or the one that was being written, must be
there; before the first promise, what is damaged must be named. Some of the runs
are continued to their end.
"""

import dataclasses
import hashlib
import itertools
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator

from absl import flags

from tests.stress import file_kind, file_shim, kind_program
from tests.stress.file_kind import Contents, Kind, Runs
from tests.stress.power_disk import LOSSES, Disk

_FLAGS = flags.FlagValues()
_CUTS = flags.DEFINE_integer('cuts', 1000, 'Power cuts.', 1, flag_values=_FLAGS)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the cuts.', 0, flag_values=_FLAGS)
_CONTINUED = flags.DEFINE_integer(
  'continued', 5, 'Runs to continue, of a kind.', 0, flag_values=_FLAGS
)
_KINDS = flags.DEFINE_list(
  'kinds', [], 'Names of kinds; none: all.', flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'A JSON file to write.', flag_values=_FLAGS
)


@dataclasses.dataclass
class Row:
  """What cuts left of a kind of file.

  Args:
    kind: its name.
    operations: that were recorded, without marks.
    cuts: how many.
    promised: the last promised state was there, or nothing had been promised.
    newer: the state that was being written was there.
    named: nothing had been promised, and the damage was named.
    continued: runs that were continued and ended well.
    faults: what else was seen.
  """

  kind: str
  operations: int
  cuts: int = 0
  promised: int = 0
  newer: int = 0
  named: int = 0
  continued: int = 0
  faults: list[str] = dataclasses.field(default_factory=list)

  def fault(self, text: str) -> None:
    """Counts a fault, and prints it."""
    self.faults.append(text)
    print(f'FAULT {self.kind}: {text}', flush=True)

  def __str__(self) -> str:
    return (
      f'| {self.kind} | {self.operations} | {self.cuts} | {self.promised} | '
      f'{self.newer} | {self.named} | {len(self.faults)} | {self.continued} |'
    )


@dataclasses.dataclass(frozen=True)
class Cut:
  """A power cut.

  Args:
    after: how many operations are done.
    loss: a key of `LOSSES`.
    promised: the last promised state.
    disk: the files that are left, as `Disk.after_cut` returns them.
  """

  after: int
  loss: str
  promised: int
  disk: Contents

  def __str__(self) -> str:
    return f'after {self.after} operations, {self.loss}'


def record(
  kind: Kind, folder: pathlib.Path, shim: file_shim.Shim
) -> list[file_shim.Operation]:
  """Writes a kind into a folder; returns what was done to its files."""
  log = folder.with_suffix('.log')
  folder.mkdir()
  shim.begin(folder, log)
  try:
    kind.write(folder, shim.mark)
  finally:
    shim.end()
  return list(file_shim.read(log))


def cuts(
  operations: list[file_shim.Operation],
  folder: pathlib.Path,
  count: int,
  rng: random.Random,
) -> Iterator[Cut]:
  """Yields random power cuts of a recorded run, each loss in its turn.

  Args:
    operations: what was recorded.
    folder: where it was recorded.
    count: how many cuts.
    rng: draws them.
  """
  disk, done = Disk(folder), 0
  places = sorted(rng.randint(0, len(operations)) for _ in range(count))
  for place, loss in zip(places, itertools.cycle(LOSSES)):
    for operation in operations[done:place]:
      disk.apply(operation)
    done = place
    yield Cut(place, loss, disk.mark, disk.after_cut(LOSSES[loss], rng))
  for operation in operations[done:]:
    disk.apply(operation)
  disk.check()


class Reader:
  """Reads the disks that power cuts leave.

  Args:
    kind: of the files.
    folder: where to put them.
  """

  def __init__(self, kind: Kind, folder: pathlib.Path):
    self._runs = Runs(kind, folder)
    self._known: dict[str, int | Exception] = {}

  def read(self, cut: Cut) -> tuple[int | Exception, bool]:
    """Returns what a reader finds: a state or its error; whether it is new."""
    digest = hashlib.sha256(repr(sorted(cut.disk.items())).encode()).hexdigest()
    is_new = digest not in self._known
    if is_new:
      file_kind.put(cut.disk, self._runs.folder)
      self._known[digest] = self._runs.read()
    return self._known[digest], is_new

  def proceed(self, cut: Cut) -> str | None:
    """Continues the run after a cut; returns in words what went wrong."""
    file_kind.put(cut.disk, self._runs.folder)
    return self._runs.fault_of_next_run(0)


def judge(row: Row, kind: Kind, cut: Cut, found: int | Exception) -> bool:
  """Counts what a reader found after a cut; returns whether it is right."""
  row.cuts += 1
  if found == cut.promised:
    row.promised += 1
  elif found == cut.promised + 1:
    row.newer += 1
  elif isinstance(found, kind.read_errors) and not cut.promised:
    row.named += 1
  else:
    row.fault(f'{cut}: {cut.promised} was promised, but found {found!r}')
    return False
  return True


def torment(
  kind: Kind, place: pathlib.Path, count: int, continued: int, seed: int
) -> Row:
  """Cuts the power of one kind; returns what was seen.

  Args:
    kind: of the files.
    place: an empty folder.
    count: how many cuts.
    continued: how many runs to continue.
    seed: of the cuts.
  """
  live = place / 'live'
  operations = record(kind, live, file_shim.Shim())
  row = Row(kind.name, sum(o.name != 'mark' for o in operations))
  reader = Reader(kind, place / 'cut')
  rng = random.Random(f'{seed} {kind.name}')
  for number, cut in enumerate(cuts(operations, live, count, rng)):
    found, is_new = reader.read(cut)
    right = judge(row, kind, cut, found)
    # Spread over the cuts, so that runs begin at all states.
    is_due = number * continued // count >= row.continued
    if right and is_new and is_due and row.continued < continued:
      fault = reader.proceed(cut)
      if fault:
        row.fault(f'{cut}: {fault}')
      else:
        row.continued += 1
  return row


def main(argv: list[str]) -> None:
  """Prints the table; leaves with 1 if anything was lost."""
  file_shim.load('tests.stress.power_cuts', argv[1:])
  _FLAGS(argv)
  begin, rows = time.monotonic(), []
  kinds = kind_program.kinds(_KINDS.value)
  with tempfile.TemporaryDirectory() as folder:
    for number, kind in enumerate(kinds):
      place = pathlib.Path(folder).resolve() / str(number)
      place.mkdir()
      # The first ones get what is left over.
      count = (_CUTS.value + len(kinds) - 1 - number) // len(kinds)
      row = torment(kind, place, count, _CONTINUED.value, _SEED.value)
      rows.append(row)
      print(row, f'{time.monotonic() - begin:.0f} s', flush=True)
  minutes = (time.monotonic() - begin) / 60
  kind_program.finish(rows, _OUTPUT.value, seed=_SEED.value, minutes=minutes)


if __name__ == '__main__':
  main(sys.argv)
