"""Trained networks pruned in five epochs: UniLTH(pretrained=True) and others.

  python -m recipes.pretrained --data_dir=/data
  python -m recipes.pretrained --tasks=digits_cnn --pruned_by=unilth,unidlth

Trains each network dense, as its recipe does, then prunes it from the same
weights with each method, under Adam at 1e-3 and under the recipe's SGD with a
cosine over the five epochs: the network of `recipes.digits_cnn` to 90%, that of
`recipes.mnist_lenet` to 95%. `polynomial_decay` is tfmot's, which prunes each
layer to the target, as `unilth_layer`, UniLTH with `scope='layer'`, does.

First, polynomial_decay and unilth try some settings on a seed that is not
compared, and take those with the best validation accuracy. The others take
unilth's learning rate. In the output directory it writes `search.csv` and
`pretrained.csv`, a line per run as they finish, and `report.md`. The same
command goes on where it stopped.

How to prune a network that is trained already:

  model = tf_unilth.prune_low_magnitude(
    trained, tf_unilth.IterativeSparsity(0.9))
  model.compile(...)
  model.fit(x, y, epochs=5, callbacks=[tf_unilth.UniLTH(pretrained=True)])

What it found stands in recipes/results/pretrained/report.md: on both networks
UniLTH ends above PolynomialDecay under both optimizers. The network of the
digits keeps its accuracy; LeNet at 95% loses about a tenth of a point.
Most of the lead on the digits comes from ranking all layers together: with
scope='layer' UniLTH loses points there too. Five epochs of the digits are 195
steps, in which the moving averages of batch normalisation lag behind, and
random tickets have no time to learn.
"""

import csv
import os
import pathlib
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import app, flags

from recipes import run_directory, run_flags
from recipes.comparison import mean
from recipes.experiment import EXPECTED, one_line
from recipes.pretrained_trials import (
  EPOCHS,
  METHODS,
  OPTIMIZERS,
  TASKS,
  Bench,
  Trial,
)

FLAGS = flags.FLAGS
_TASKS = flags.DEFINE_list('tasks', list(TASKS), 'Which networks.')
_PRUNED_BY = flags.DEFINE_list('pruned_by', list(METHODS), 'Which methods.')
_SEED_COUNT = flags.DEFINE_integer(
  'seed_count', 5, 'Runs of each, with seeds from 0 on.', 1
)

_SEARCH_SEEDS = (10,)
_OURS, _RIVAL = 'unilth', 'polynomial_decay'
Settings = tuple[tuple[str, float], ...]
Row = dict[str, str]


def _tries(*tries: dict[str, float]) -> tuple[Settings, ...]:
  return tuple(tuple(settings.items()) for settings in tries)


# By method and optimizer; the rival has one more. UniLTH's first is the
# library's defaults at the recipe's own learning rate.
TRIES: dict[tuple[str, str], tuple[Settings, ...]] = {
  (_OURS, 'adam'): _tries({}, {'finetune_fraction': 0.75}),
  (_OURS, 'sgd'): _tries({}, {'rate': 0.3}),
  (_RIVAL, 'adam'): _tries(
    {'begin': 0.0, 'end': 0.5},
    {'begin': 0.0, 'end': 0.3},
    {'begin': 0.2, 'end': 0.7},
  ),
  (_RIVAL, 'sgd'): _tries(
    {'begin': 0.0, 'end': 0.5},
    {'begin': 0.2, 'end': 0.7},
    {'begin': 0.0, 'end': 0.5, 'rate': 0.3},
  ),
}
_COLUMNS = (
  'task',
  'optimizer',
  'method',
  'settings',
  'seed',
  'target_sparsity',
  'epochs',
  'sparsity',
  'rounds',
  'dense_validation_accuracy',
  'validation_accuracy',
  'dense_test_accuracy',
  'test_accuracy',
  'seconds',
  'versions',
)


class Table:
  """Rows of finished runs, kept in a CSV file.

  Args:
    path: of the file; what is in it is not run again.
  """

  def __init__(self, path: pathlib.Path):
    self._path = path
    self.rows = read(path)

  def has(self, trial: Trial) -> bool:
    """Returns whether a run is finished."""
    return any(
      row['task'] == trial.task
      and row['optimizer'] == trial.optimizer
      and row['method'] == trial.method
      and row['settings'] == trial.words
      and int(row['seed']) == trial.seed
      for row in self.rows
    )

  def add(self, row: dict[str, Any]) -> None:
    """Adds a finished run, in the file too."""
    self.rows.append({name: str(row[name]) for name in _COLUMNS})
    lines = [','.join(_COLUMNS)]
    lines += [','.join(row[name] for name in _COLUMNS) for row in self.rows]
    run_directory.write_text(self._path, '\n'.join(lines) + '\n')


def read(path: pathlib.Path) -> list[Row]:
  """Returns the rows of a CSV file; none, if it is not there."""
  if not path.exists():
    return []
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def searched() -> Iterator[Trial]:
  """Yields the runs of the search."""
  for task in _TASKS.value:
    for seed in _SEARCH_SEEDS:
      for (method, optimizer), tries in TRIES.items():
        for settings in tries:
          yield Trial(task, optimizer, method, seed, settings)


def compared(search: Sequence[Row]) -> Iterator[Trial]:
  """Yields the runs that are compared, with the settings of the search."""
  for task in _TASKS.value:
    for seed in range(_SEED_COUNT.value):
      for method in _PRUNED_BY.value:
        for optimizer in OPTIMIZERS:
          settings = chosen(search, task, optimizer, method)
          yield Trial(task, optimizer, method, seed, settings)


def chosen(
  search: Sequence[Row], task: str, optimizer: str, method: str
) -> Settings:
  """Returns the settings with the best mean validation accuracy.

  Where two are equal, the first. Methods without a search take the learning
  rate of ours.
  """
  if (method, optimizer) not in TRIES:
    ours = chosen(search, task, optimizer, _OURS)
    return tuple(pair for pair in ours if pair[0] in ('rate', 'warmup'))

  def score(settings: Settings) -> float:
    words = Trial(task, optimizer, method, 0, settings).words
    values = [
      float(row['validation_accuracy'])
      for row in _of(search, task, optimizer, method)
      if row['settings'] == words
    ]
    return sum(values) / len(values) if values else 0.0

  return max(TRIES[method, optimizer], key=score)


def run(trials: Iterable[Trial], table: Table, directory: pathlib.Path) -> None:
  """Does the runs that are not in a table yet, and adds them."""
  bench, made_for = None, None
  versions = run_directory.versions()
  for trial in trials:
    if table.has(trial):
      continue
    if made_for != (trial.task, trial.seed):
      made_for = trial.task, trial.seed
      bench = Bench(*made_for, FLAGS.data_dir, directory / 'weights')
    assert bench is not None
    found = bench.run(trial)
    table.add(
      {
        'task': trial.task,
        'optimizer': trial.optimizer,
        'method': trial.method,
        'settings': trial.words,
        'seed': trial.seed,
        'target_sparsity': TASKS[trial.task].sparsity,
        'epochs': EPOCHS,
        'versions': ' '.join(f'{k}={v}' for k, v in versions.items()),
        **{f'dense_{name}': value for name, value in bench.dense.items()},
        **found,
      }
    )
    print(
      f'{trial.task} {trial.optimizer} {trial.method} {trial.words} seed '
      f'{trial.seed}: {found["validation_accuracy"]:.4f} in validation',
      flush=True,
    )


def report(rows: Sequence[Row], search: Sequence[Row]) -> str:
  """Returns the report: tables of accuracies, differences and settings."""
  sections = [
    ['# Trained networks, pruned in five epochs'],
    ['```shell', 'python -m recipes.pretrained --data_dir=...', '```'],
    [
      'Test accuracy in percent: mean ± standard deviation (seeds). Below '
      'each, points against the dense model from which it was pruned, and of '
      'unilth against the others: mean of the differences per seed ± its '
      'standard error (seeds).'
    ],
  ]
  for task in TASKS:
    if any(row['task'] == task for row in rows):
      share = 100 * TASKS[task].sparsity
      sections += [
        [f'## {task} at {share:g}%'],
        accuracy_table(rows, task),
        difference_table(rows, task),
        ours_table(rows, task),
      ]
  sections += [['## Settings'], _settings_table(search), _circumstances(rows)]
  return '\n\n'.join('\n'.join(lines) for lines in sections if lines) + '\n'


def accuracy_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the test accuracies of a task, a line per method."""
  lines = _head('method')
  dense = {
    row['seed']: 100 * float(row['dense_test_accuracy'])
    for row in rows
    if row['task'] == task
  }
  lines.append(_line('dense', [str(mean([*dense.values()]))] * 2))
  for method in _methods(rows, task):
    cells = [_accuracies(rows, task, o, method) for o in OPTIMIZERS]
    lines.append(
      _line(method, [str(mean([*c.values()])) if c else '' for c in cells])
    )
  return lines


def difference_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the points of each method against the dense model."""
  lines = _head('above the dense model')
  for method in _methods(rows, task):
    cells = [_points(gained(rows, task, o, method)) for o in OPTIMIZERS]
    lines.append(_line(method, cells))
  return lines


def gained(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[float]:
  """Returns a method's points above the dense model, per seed."""
  names = 'test_accuracy', 'dense_test_accuracy'
  pairs = [
    [100 * float(row[name]) for name in names]
    for row in _of(rows, task, optimizer, method)
  ]
  return [after - before for after, before in pairs]


def ours_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the points of unilth against each other method."""
  lines = _head('unilth above')
  for method in _methods(rows, task):
    if method != _OURS:
      cells = [_points(against(rows, task, o, method)) for o in OPTIMIZERS]
      lines.append(_line(method, cells))
  return lines


def against(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[float]:
  """Returns unilth's points above a method, per seed that both have."""
  ours = _accuracies(rows, task, optimizer, _OURS)
  theirs = _accuracies(rows, task, optimizer, method)
  return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _settings_table(search: Sequence[Row]) -> list[str]:
  lines = [
    'Mean validation accuracy of the settings that were tried, seeds '
    f'{", ".join(map(str, _SEARCH_SEEDS))}; `rate` is in units of the '
    "recipe's.",
    '',
    '| task | optimizer | method | settings | validation accuracy |',
    '|---|---|---|---|---|',
  ]
  groups: dict[tuple[str, ...], list[float]] = {}
  names = 'task', 'optimizer', 'method', 'settings'
  for row in search:
    key = tuple(row[name] for name in names)
    groups.setdefault(key, []).append(100 * float(row['validation_accuracy']))
  for key, values in sorted(groups.items()):
    *start, settings = key
    cells = [*start, settings or 'defaults', str(mean(values))]
    lines.append(f'| {" | ".join(cells)} |')
  return lines


def _circumstances(rows: Sequence[Row]) -> list[str]:
  versions = sorted({row['versions'] for row in rows})
  return [
    f'{platform.machine()}, {os.cpu_count()} cores; {"; ".join(versions)}.'
  ]


def _methods(rows: Sequence[Row], task: str) -> list[str]:
  return [
    method
    for method in METHODS
    if any(row['task'] == task and row['method'] == method for row in rows)
  ]


def _of(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[Row]:
  wanted = task, optimizer, method
  return [
    row
    for row in rows
    if (row['task'], row['optimizer'], row['method']) == wanted
  ]


def _accuracies(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> dict[str, float]:
  return {
    row['seed']: 100 * float(row['test_accuracy'])
    for row in _of(rows, task, optimizer, method)
  }


def _head(first: str) -> list[str]:
  return [
    f'| {first} | Adam at 1e-3 | SGD with a cosine |',
    '|---|---|---|',
  ]


def _line(name: str, cells: Sequence[str]) -> str:
  return f'| {" | ".join([name, *cells])} |'


def _points(values: Sequence[float]) -> str:
  if not values:
    return ''
  found = mean(values)
  return f'{found.value:+.2f} ± {found.error:.2f} ({found.seeds})'


def _check() -> None:
  for flag, known in ((_TASKS, TASKS), (_PRUNED_BY, METHODS)):
    for name in flag.value:
      if name not in known:
        raise ValueError(
          f'--{flag.name} must be of {", ".join(known)}, but has {name!r}.'
        )


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  try:
    run_flags.refuse_words(arguments)
    _check()
    directory = pathlib.Path(FLAGS.output_dir or 'runs/pretrained')
    directory.mkdir(parents=True, exist_ok=True)
    search = Table(directory / 'search.csv')
    run(searched(), search, directory)
    table = Table(directory / 'pretrained.csv')
    run(compared(search.rows), table, directory)
    text = report(table.rows, search.rows)
    run_directory.write_text(directory / 'report.md', text)
    print(text)
  except EXPECTED as error:
    if FLAGS.debug:
      raise
    return f'error: {one_line(error)}'
  return None


if __name__ == '__main__':
  app.run(_main)
