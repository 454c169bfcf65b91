"""Prunes random models in random ways, and checks each from end to end.

  python -m tests.stress.model_fuzz --count=300 --seed=0 --output=fuzz.csv

Each case trains to exactly the sparsity that was asked for, is stripped and
reloaded without a change of its outputs, or is refused by an error of ours
that names what is wrong; all else is a failure. A case is a pure function of
(seed, index). What is in --output already is not run again.

With `--channels` each case prunes whole channels, to the fewest units that
reach the target; else some do. With `--keras=keras` the models are of Keras 3,
on the backend of `KERAS_BACKEND`, which is part of what makes a case: a file
may hold those of several.
"""

import collections
import csv
import dataclasses
import functools
import os
import pathlib
import re
import sys
from collections.abc import Callable

import keras
from absl import app, flags

from tests.stress import fuzz_case, keras_fuzz_case
from tests.stress.fuzz_case import FAILED, REFUSED, TRAINED, Row
from tests.testing.fuzz_worker import Worker

FLAGS = flags.FLAGS

# Cases after which a process is replaced: TensorFlow keeps its graphs.
_PER_PROCESS = 25


def backend(package: str) -> str:
  """Returns the `Row.backend` of a Keras, `'keras'` or `'tf_keras'`."""
  return keras.backend.backend() if package == 'keras' else ''


def worker(
  seed: int, limit: float, package: str = 'tf_keras', channels: bool = False
) -> Worker:
  """Returns what runs the cases of a seed, of models of a Keras."""
  run: Callable[..., Row] = keras_fuzz_case.run
  if package == 'tf_keras':
    run = functools.partial(fuzz_case.run, channels=channels)
  failed = functools.partial(
    Row, seed, outcome=FAILED, backend=backend(package)
  )
  return Worker(
    functools.partial(run, seed),
    lambda index, text: failed(index, text=text),
    limit,
    _PER_PROCESS,
  )


def known(path: pathlib.Path, seed: int, backend: str = '') -> list[Row]:
  """Returns the rows of a seed and a `Row.backend` that a file holds."""
  if not path.exists():
    return []
  with path.open(newline='') as file:
    rows = [
      Row(
        **{
          **row,
          'seed': int(row['seed']),
          'index': int(row['index']),
          'discarded': int(row['discarded']),
          'seconds': float(row['seconds']),
        }
      )
      for row in csv.DictReader(file)
    ]
  return [row for row in rows if (row.seed, row.backend) == (seed, backend)]


def add(path: pathlib.Path, row: Row) -> None:
  is_new = not path.exists()
  with path.open('a', newline='') as file:
    writer = csv.DictWriter(file, list(dataclasses.asdict(row)))
    if is_new:
      writer.writeheader()
    writer.writerow(dataclasses.asdict(row))


def _print(row: Row) -> None:
  print(
    f'{row.index:5} {row.outcome:8}{row.seconds:6.1f} s  {row.kind}: '
    f'{row.layers}\n      {row.pruning}'
    + f'\n      {row.text}'
    * bool(row.text),
    flush=True,
  )


def summary(rows: list[Row], given: str = '') -> str:
  """Returns the table at the end: outcomes, refusals by kind, failures.

  Args:
    rows: of all cases.
    given: other flags that a case needs to be run again.
  """
  counts = collections.Counter(row.outcome for row in rows)
  lines = ['', f'{len(rows)} cases, {sum(r.seconds for r in rows):.0f} s']
  lines += [f'{counts[o]:6} {o}' for o in (TRAINED, REFUSED, FAILED)]
  discarded = sum(row.discarded for row in rows)
  lines.append(f'{discarded:6} models that Keras cannot train, drawn anew')
  refused = [_template(row.text) for row in rows if row.outcome == REFUSED]
  if refused:
    lines += ['', 'Refused:']
  for text, count in collections.Counter(refused).most_common():
    lines.append(f'{count:6} {text}')
  failures = [row for row in rows if row.outcome == FAILED]
  if failures:
    lines += ['', 'Failures:']
  for row in failures:
    lines.append(f'  {row.text}')
    lines.append(
      f'    {f"KERAS_BACKEND={row.backend} " * bool(row.backend)}'
      f'python -m tests.stress.model_fuzz --seed={row.seed} '
      f'--start={row.index} --count=1{given}'
      + ' --keras=keras'
      * bool(row.backend)
    )
  return '\n'.join(lines)


def _template(text: str) -> str:
  """Returns an error without what differs from case to case."""
  text = re.sub(r"'[^']*'", '...', text)
  return re.sub(r'\d[\d.e-]*', '#', text)[:150]


def main(argv: list[str]) -> None:
  """Runs the cases, prints them as they come, and sums up."""
  del argv
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  path = pathlib.Path(FLAGS.output) if FLAGS.output else None
  wanted = range(FLAGS.start, FLAGS.start + FLAGS.count)
  found = backend(FLAGS.keras)
  rows = known(path, FLAGS.seed, found) if path else []
  rows = [row for row in rows if row.index in wanted]
  cases = worker(FLAGS.seed, FLAGS.limit, FLAGS.keras, FLAGS.channels)
  done = {row.index for row in rows}
  for index in [index for index in wanted if index not in done]:
    row = cases.run(index)
    if path:
      add(path, row)
    _print(row)
    rows.append(row)
  cases.stop()
  print(summary(rows, ' --channels' * FLAGS.channels))
  sys.exit(any(row.outcome == FAILED for row in rows))


if __name__ == '__main__':
  # Here, since the recipes, which other tests import, have some of the names.
  flags.DEFINE_integer('count', 300, 'How many cases.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'What all is drawn from.')
  flags.DEFINE_integer('start', 0, 'The index of the first case.')
  flags.DEFINE_string('output', None, 'A CSV file, added to.')
  flags.DEFINE_enum(
    'keras', 'tf_keras', ['tf_keras', 'keras'], 'The Keras of the models.'
  )
  flags.DEFINE_bool(
    'channels', False, 'Whether each case prunes whole channels, not only some.'
  )
  flags.DEFINE_integer('limit', 600, 'Seconds that a case may take.')
  app.run(main)
