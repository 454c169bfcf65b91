"""Gives the public API and the recipes' flags random arguments.

  python -m tests.stress.argument_fuzz --count=10000 --train=300 --seed=0 \\
    --output=arguments.json

Each case is accepted, or refused by an error of one line that names an
argument, its value and what is allowed, and leaves nothing behind; all else,
and a bad value that is accepted, is a failure. Of the accepted ones that can be
trained some are. A few command lines go to recipes in processes of their own.
A case is a pure function of (seed, index).
"""

import collections
import functools
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent import futures

from absl import flags

from recipes.common import files, provenance
from tests.stress import argument_case
from tests.stress.argument_case import ACCEPTED, FAILED, REFUSED, Row
from tests.testing.fuzz_worker import Worker
from tf_unilth.files.directory_lock import LOCK_FILES

# Of its own, since the recipes have some of the names.
_FLAGS = flags.FlagValues()
_COUNT = flags.DEFINE_integer(
  'count', 10_000, 'Cases to check.', 1, flag_values=_FLAGS
)
_TRAIN = flags.DEFINE_integer(
  'train', 300, 'Of the accepted ones to train.', 0, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'What all is drawn from.', 0, flag_values=_FLAGS
)
_START = flags.DEFINE_integer(
  'start', 0, 'The index of the first case.', 0, flag_values=_FLAGS
)
_WORKERS = flags.DEFINE_integer(
  'workers', 2, 'Processes at a time.', 1, flag_values=_FLAGS
)
_PROCESSES = flags.DEFINE_bool(
  'processes', True, 'Start recipes in processes too.', flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'A JSON file to write.', flag_values=_FLAGS
)

# Seconds that a case may take, and cases of a process.
_CHECK, _TRAINING = (60.0, 1500), (300.0, 40)
# By recipe and flags, what it must say; without a word, that it runs.
PROCESSES: list[tuple[str, str, str]] = [
  ('digits_cnn', '--epochs=0', 'epochs=0: 0 is not .* integer'),
  ('digits_cnn', '--learning_rate=nan', 'learning_rate must .* but is nan'),
  ('digits_cnn', '--method=magic', 'method=magic: value should be one of'),
  ('digits_cnn', '--epochs=2', 'epochs must be at least 3'),
  ('mnist_lenet', '--data_dir=nowhere', 'data_dir.*nowhere'),
  ('image_folder', '--data_dir=nowhere', 'data_dir.*nowhere'),
  ('digits_cnn', '--train_examples=200 --epochs=3 --verbose=1', ''),
]


def run_all(
  run: Callable[[int, int], Row],
  indices: Sequence[int],
  seed: int,
  limits: tuple[float, int],
) -> list[Row]:
  """Runs cases in processes of their own; prints what fails."""
  workers = _WORKERS.value
  share = functools.partial(_run_share, run, seed, limits)
  with futures.ThreadPoolExecutor(workers) as threads:
    shares = threads.map(share, [indices[n::workers] for n in range(workers)])
    return sorted(itertools.chain(*shares), key=lambda row: row.index)


def _run_share(
  run: Callable[[int, int], Row],
  seed: int,
  limits: tuple[float, int],
  indices: Sequence[int],
) -> list[Row]:
  worker = Worker(
    functools.partial(run, seed),
    lambda index, text: Row(
      index, argument_case.draw(seed, index).subject, text=text
    ),
    *limits,
  )
  rows = []
  for index in indices:
    rows.append(worker.run(index))
    if rows[-1].outcome == FAILED:
      _print(rows[-1], seed)
  worker.stop()
  return rows


def _print(row: Row, seed: int) -> None:
  print(
    f'FAILED {row.subject}({row.arguments})\n  {row.text}\n'
    f'  python -m tests.stress.argument_fuzz --seed={seed} --start={row.index} '
    '--count=1 --train=1 --noprocesses',
    flush=True,
  )


def start_recipes() -> list[Row]:
  """Starts recipes with the command lines above."""
  root = pathlib.Path(__file__).parents[2]
  rows = []
  for number, (recipe, given, wanted) in enumerate(PROCESSES):
    row = Row(number, 'recipes in processes', f'{recipe} {given}')
    with tempfile.TemporaryDirectory() as folder:
      output = pathlib.Path(folder, 'run')
      command = [sys.executable, '-m', f'recipes.{recipe}', *given.split()]
      done = subprocess.run(
        [*command, f'--output_dir={output}'],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=_TRAINING[0],
      )
      is_there = (output / 'results.json').exists()
      left = {path.name for path in output.rglob('*') if path.is_file()}
      # A lock file means nothing.
      clean = 'Traceback' not in done.stderr and (
        is_there or left <= {*LOCK_FILES}
      )
      if wanted and done.returncode == 1 and clean:
        said = re.search(wanted, done.stderr)
        row.outcome = REFUSED if said and not is_there else FAILED
      elif not wanted and done.returncode == 0 and is_there:
        row.outcome = ACCEPTED
      row.text = f'{done.returncode}: {done.stderr[-600:]}'
    if row.outcome == FAILED:
      print(f'FAILED {row.arguments}: {row.text}', flush=True)
    rows.append(row)
  return rows


def table(parts: dict[str, list[Row]]) -> str:
  """Returns a line per part and subject: how many of which outcome."""
  lines = ['| | cases | accepted | refused | failed |', '|---|---|---|---|---|']
  for part, rows in parts.items():
    subjects = sorted({row.subject for row in rows})
    for subject in subjects:
      lines.append(_line(subject, [r for r in rows if r.subject == subject]))
    lines.append(_line(f'**{part}**', rows))
  return '\n'.join(lines)


def _line(name: str, rows: list[Row]) -> str:
  cells = counts(rows).values()
  return f'| {name} | {len(rows)} | {" | ".join(map(str, cells))} |'


def counts(rows: list[Row]) -> dict[str, int]:
  """Returns how many rows have which outcome."""
  found = collections.Counter(row.outcome for row in rows)
  return {outcome: found[outcome] for outcome in (ACCEPTED, REFUSED, FAILED)}


def evenly(rows: list[Row], count: int) -> list[int]:
  """Returns the indices of so many rows, spread over all of them."""
  count = min(count, len(rows))
  return [rows[n * len(rows) // count].index for n in range(count)]


def main(argv: list[str]) -> None:
  """Runs all, prints the table; leaves with 1 if anything failed."""
  _FLAGS(argv)
  begin, seed = time.monotonic(), _SEED.value
  wanted = range(_START.value, _START.value + _COUNT.value)
  checked = run_all(argument_case.check, wanted, seed, _CHECK)
  can_train = [row for row in checked if row.can_train]
  chosen = evenly(can_train, _TRAIN.value)
  trained = run_all(argument_case.train, chosen, seed, _TRAINING)
  parts = {'checked': checked, 'of the accepted, trained': trained}
  if _PROCESSES.value:
    parts['real processes'] = start_recipes()
  print(f'\n{table(parts)}')
  seconds = max(row.seconds for row in checked)
  minutes = (time.monotonic() - begin) / 60
  print(
    f'\nseed {seed}, {minutes:.0f} minutes; the slowest check took '
    f'{seconds:.1f} s of CPU time'
  )
  if _OUTPUT.value:
    content = {
      **provenance.record(),
      'minutes': minutes,
      'outcomes': {part: counts(rows) for part, rows in parts.items()},
    }
    files.write_json(pathlib.Path(_OUTPUT.value), content)
  sys.exit(
    any(row.outcome == FAILED for rows in parts.values() for row in rows)
  )


if __name__ == '__main__':
  main(sys.argv)
