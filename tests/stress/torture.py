"""Kills, damages and starves runs, and sees what is left of them.

    python -m tests.stress.torture --kills=50 --seed=0 --output=torture.json

Runs of a recipe (`torture_recipe`), and of the library under SGD and Adam
(`torture_run`), of every method, are killed by SIGKILL at random moments and
inside of what must not be torn, started again, and their hashes compared with
those of the run left alone. It prints the table that docs/trust.md shows, and
writes its numbers. With `--keras=keras` the runs are of Keras 3 models on the
backend of `KERAS_BACKEND`, by the library alone, and only killed and stopped.
"""

import dataclasses
import itertools
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from recipes.common import files, provenance
from tests.stress import (
  torture_faults,
  torture_keras_run,
  torture_memory,
  torture_rows,
  torture_run,
)
from tests.stress.torture_child import HASHES, Child, checkpoints, result
from tests.stress.torture_rows import Row
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.resume import checkpoint_file
from tf_unilth.resume.checkpoint_store import CheckpointDirectory

# Of its own, since the recipes have some of the names.
_FLAGS = flags.FlagValues()
_KILLS = flags.DEFINE_integer(
  'kills', 50, 'Runs to kill.', 1, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Of the moments.', 0, flag_values=_FLAGS
)
_ROUNDS = flags.DEFINE_integer(
  'rounds', 30, 'Of the memory test; 0: none.', 0, flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'A JSON file to write.', flag_values=_FLAGS
)

_KERAS = flags.DEFINE_enum(
  'keras',
  'tf_keras',
  ['tf_keras', 'keras'],
  'The Keras of the models.',
  flag_values=_FLAGS,
)

_POINTS = {
  'recipe': torture_faults.RECIPE_POINTS,
  'library': torture_faults.POINTS,
  'keras': torture_faults.KERAS_3_POINTS,
}
_PARTS = 64  # Of a file's length, at which it is truncated.
_FLIPS = 200  # Bytes of a file that are altered, one at a time.
_OFTEN = 10  # Kills of one run.


class Torture:
  """All trials, with what they share: a folder, moments, the runs left alone.

  Args:
    folder: where the runs write.
    seed: of the moments.
  """

  def __init__(self, folder: pathlib.Path, seed: int):
    self._folder = folder
    self._random = random.Random(seed)
    self._numbers = itertools.count()
    self._whole: dict[str, Any] = {}
    self._left: dict[str, pathlib.Path] = {}
    self._seconds: dict[str, float] = {}

  def cases(self, code: str) -> Iterator[dict[str, Any]]:
    """Yields cases in turn, without end: every method and optimizer."""
    runs = torture_keras_run if code == 'keras' else torture_run
    optimizers = ['sgd'] if code == 'recipe' else runs.OPTIMIZERS
    pairs = itertools.product(runs.METHODS, optimizers)
    for number, (method, optimizer) in enumerate(itertools.cycle(pairs)):
      yield {
        'code': code,
        'method': method,
        'optimizer': optimizer,
        'dataset': code == 'library' and bool(number // 2 % 2),
        'every_steps': self._random.choice([None, 1, 3]),
      }

  def directory(self) -> pathlib.Path:
    """Returns a directory that no run has used."""
    return self._folder / f'run-{next(self._numbers)}'

  def whole(self, case: dict[str, Any]) -> dict[str, str]:
    """Returns the hashes of a run left alone, and learns how long it takes."""
    key = self._key(case)
    if key not in self._whole:
      directory = self.directory()
      child = Child({**case, 'every_steps': None}, directory)
      if child.wait() != 0:
        raise RuntimeError(f'a run left alone failed: {child.log.read_text()}')
      self._seconds[key] = child.seconds
      self._whole[key] = result(directory)
      self._left[key] = directory
    return self._whole[key]

  def _key(self, case: dict[str, Any]) -> str:
    return '{code} {method} {optimizer} {dataset}'.format(**case)

  def seconds(self, case: dict[str, Any]) -> float:
    """Returns how long a run takes that is left alone."""
    self.whole(case)
    return self._seconds[self._key(case)]

  def moment(self, case: dict[str, Any]) -> float:
    """Returns a random moment of a run, in seconds."""
    return self._random.uniform(0.1, self.seconds(case))

  def finish(self, case: dict[str, Any], directory: pathlib.Path) -> str | None:
    """Starts a run again; returns in words what differs from a whole one."""
    whole = self.whole(case)
    child = Child(case, directory)
    if child.wait() != 0:
      return f'{self._key(case)} does not end: {child.log.read_text()[-2000:]}'
    found = result(directory)
    different = [name for name in whole if whole[name] != found[name]]
    kept = str(directory)
    if not different:
      shutil.rmtree(directory, ignore_errors=True)  # But a mounted disk.
      return None
    return f'{self._key(case)}: {", ".join(different)} differ, see {kept}'

  # The trials.

  def kill_at_random(self, row: Row, kills: int, code: str) -> None:
    """Kills runs once each, at moments spread evenly over their time."""
    for case in self.cases(code):
      if row.trials == kills:
        return
      directory = self.directory()
      if self._kill_once(case, directory, self.moment(case)):
        row.add(self.finish(case, directory))

  def kill_at_points(self, row: Row, kills: int, code: str) -> None:
    """Kills runs once each, inside of what must not be torn."""
    points = itertools.cycle(_POINTS[code])
    cases = self.cases(code)
    while row.trials < kills:
      case, point, directory = next(cases), next(points), self.directory()
      if point == 'resuming':
        self._kill_once(case, directory, self.moment(case))
      # Up to 3 ms from its beginning, so that it falls inside.
      moment = self._random.choice([0.0, self._random.uniform(0, 0.003)])
      call = self._random.randrange(1 if point == 'resuming' else 4)
      kill = {**case, 'kill': (point, call, moment)}
      if Child(kill, directory).wait() == -signal.SIGKILL:
        row.add(self.finish(case, directory))

  def _kill_once(self, case: Any, directory: pathlib.Path, at: float) -> bool:
    child = Child(case, directory)
    child.wait(at)
    child.send(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL

  def kill_often(self, row: Row, runs: int, code: str) -> None:
    """Kills runs ten times each before they may end."""
    for case in itertools.islice(self.cases(code), 2, 2 + runs):
      case, directory, killed = {**case, 'every_steps': 2}, self.directory(), 0
      while killed < _OFTEN:
        # Late enough to have done something since the last time.
        moment = self._random.uniform(0.6, 0.95) * self.seconds(case)
        killed += self._kill_once(case, directory, moment)
        if (directory / HASHES).exists():
          shutil.rmtree(directory)
          killed = 0
      row.add(self.finish(case, directory))

  def stop(self, row: Row, trials: int, code: str) -> None:
    """Sends SIGTERM and SIGINT, which have exit codes of their own."""
    numbers = itertools.cycle([signal.SIGTERM, signal.SIGINT])
    for case in self.cases(code):
      if row.trials == trials:
        return
      number, directory = next(numbers), self.directory()
      child = Child(case, directory)
      # Once `fit` has begun; before, Python's own handlers stop it.
      child.wait(self._random.uniform(0.6, 1) * self.seconds(case))
      child.send(number)
      left = child.wait()
      if left == 128 + number:
        saved = checkpoints(directory)
        fault = self.finish(case, directory)
        row.add(fault if saved else f'{left} without a checkpoint')
      elif left not in (0, 1, -number):
        row.add(f'exit code {left} after signal {number}')

  def damage(self, cut: Row, flipped: Row) -> None:
    """Damages the newest of two checkpoints, each time in another way."""
    case = next(self.cases('recipe'))
    self.whole(case)
    older, newest = checkpoints(self._left[self._key(case)])
    epoch, data = checkpoint_file.read(older).epoch, newest.read_bytes()
    length = len(data)
    for part in range(_PARTS):
      newest.write_bytes(data[: length * part // _PARTS])
      cut.add(_fault_of(newest, epoch))
    for _ in range(_FLIPS):
      position = self._random.randrange(length)
      altered = bytearray(data)
      altered[position] ^= self._random.randrange(1, 256)
      newest.write_bytes(altered)
      flipped.add(_fault_of(newest, epoch))

  def fill_disk(self, row: Row, trials: int, code: str) -> None:
    """Fills a run's disk at a random moment, and makes room afterwards."""
    for case in self.cases(code):
      if row.trials == trials:
        return
      directory, filler = self.directory(), 'filler'
      with torture_faults.small_disk(directory / 'run') as mounted:
        if not mounted:
          row.name += ' (file sizes limited: no disk can be mounted here)'
          return self.refuse_room(row, trials, code, ['write'])
        moment, left = self.moment(case), self._random.randrange(100_000)
        child = Child(case, directory)
        child.wait(moment)
        torture_faults.fill(directory / 'run' / filler, left)
        found = child.wait()
        (directory / 'run' / filler).unlink(missing_ok=True)
        if found:  # It may have written all before.
          row.add(self._after_full(case, directory, child))

  def refuse_room(
    self, row: Row, trials: int, code: str, whats: Sequence[str]
  ) -> None:
    """Refuses room at a save: to write, to flush or to rename."""
    cycle = itertools.cycle(whats)
    for case in itertools.islice(self.cases(code), trials):
      directory = self.directory()
      save, size = self._random.randrange(1, 8), self._random.randrange(6000)
      child = Child({**case, 'full': (next(cycle), save, size)}, directory)
      child.wait()
      row.add(self._after_full(case, directory, child))

  def _after_full(
    self, case: dict[str, Any], directory: pathlib.Path, child: Child
  ) -> str | None:
    """Returns in words what is wrong after a run had no room."""
    log = child.log.read_text()
    said = 'there is no room' in log or 'No space left on device' in log
    is_short = 'Traceback' not in log or case['code'] == 'library'
    if child.wait() != 1 or not said or not is_short:
      return f'exit code {child.wait()} on a full disk: {log[-1000:]}'
    files = (directory / 'run').rglob('*')
    left = [p.name for p in files if p.name.startswith('.') or 'tmp' in p.name]
    return f'left {left}' if left else self.finish(case, directory)

  def start_two(self, row: Row, trials: int, code: str) -> None:
    """Starts two runs in one directory at once."""
    for case in itertools.islice(self.cases(code), trials):
      directory = self.directory()
      children = [Child(case, directory) for _ in range(2)]
      codes = sorted([child.wait() for child in children], key=str)
      log = children[0].log.read_text()
      pids = [str(child.pid) for child in children]
      named = re.search(r'is in use by process (\d+) on host', log)
      if codes == [0, 1] and named and named[1] in pids:
        row.add(self.finish(case, directory))
      else:
        row.add(f'exit codes {codes}: {log[-1000:]}')


def _fault_of(newest: pathlib.Path, epoch_before: int) -> str | None:
  """Returns what is wrong with how a damaged newest file is read."""
  try:
    checkpoint_file.read(newest)
  except DamagedError:
    pass
  else:
    return 'damaged, but loaded silently'
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    found = CheckpointDirectory(newest.parent, 2).newest()
  if found is None or found.epoch != epoch_before:
    return 'the one before it is not used'
  named = any(newest.name in str(warning.message) for warning in caught)
  return None if named else 'damaged, but not named'


def main(argv: list[str]) -> None:
  """Prints the table; leaves with 1 if anything went wrong."""
  _FLAGS(argv)
  begin, rows, usage = time.monotonic(), [], {}
  with tempfile.TemporaryDirectory() as folder:
    torture = Torture(pathlib.Path(folder), _SEED.value)
    is_keras_3 = _KERAS.value == 'keras'
    each = torture_rows.keras_3_trials if is_keras_3 else torture_rows.trials
    for done in each(torture, _KILLS.value):
      rows += done
      print(*done, sep='\n', flush=True)
    if _ROUNDS.value and not is_keras_3:
      usage = torture_memory.measure(pathlib.Path(folder), _ROUNDS.value)
      print(torture_memory.line(usage))
  print('\n| what is done to it | what must follow | trials |\n|---|---|---|')
  print(*rows, sep='\n')
  minutes = (time.monotonic() - begin) / 60
  print(f'\nseed {_SEED.value}, {minutes:.0f} minutes')
  if _OUTPUT.value:
    content = {
      **provenance.record(_KERAS.value),
      'minutes': minutes,
      'trials': [dataclasses.asdict(row) for row in rows],
      'memory_and_open_files_by_round': usage,
    }
    files.write_json(pathlib.Path(_OUTPUT.value), content)
  sys.exit(any(row.faults for row in rows))


if __name__ == '__main__':
  main(sys.argv)
