"""The report of `recipes.pretrained`."""

import os
import platform
from collections.abc import Sequence

import pandas as pd

from recipes.common import tables
from recipes.comparison.pretrained_rows import COLUMNS, Row, rows_of
from recipes.comparison.pretrained_search import OURS, SEARCH_SEEDS
from recipes.comparison.pretrained_trials import METHODS, OPTIMIZERS, TASKS
from recipes.comparison.tables import DIFFERENCES, difference, mean

_OPTIMIZERS = ('Adam at 1e-3', 'SGD with a cosine')


def report(rows: Sequence[Row], search: Sequence[Row]) -> str:
  """Returns the report: tables of accuracies, differences and settings."""
  sections = [
    ['# Trained networks, pruned in five epochs'],
    ['```shell', 'python -m recipes.pretrained --data_dir=...', '```'],
    [
      'Test accuracy in percent: mean ± standard deviation (seeds). Below '
      'each, points against the dense model from which it was pruned, and of '
      f'unilth against the others. {DIFFERENCES}'
    ],
  ]
  for task in TASKS:
    if any(row['recipe'] == task for row in rows):
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
  dense = {
    row['seed']: 100 * float(row['dense_test_accuracy'])
    for row in rows
    if row['recipe'] == task
  }
  cells = [('dense', *[str(mean([*dense.values()]))] * 2)]
  for method in _methods(rows, task):
    found = [_accuracies(rows, task, o, method) for o in OPTIMIZERS]
    means = (str(mean([*c.values()])) if c else '' for c in found)
    cells.append((method, *means))
  return tables.markdown(['method', *_OPTIMIZERS], cells)


def difference_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the points of each method against the dense model."""
  cells = [
    (method, *(difference(gained(rows, task, o, method)) for o in OPTIMIZERS))
    for method in _methods(rows, task)
  ]
  return tables.markdown(['against the dense model', *_OPTIMIZERS], cells)


def gained(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[float]:
  """Returns a method's points above the dense model, per seed."""
  names = 'test_accuracy', 'dense_test_accuracy'
  pairs = [
    [100 * float(row[name]) for name in names]
    for row in rows_of(rows, task, optimizer, method)
  ]
  return [after - before for after, before in pairs]


def ours_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the points of unilth against each other method."""
  cells = [
    (method, *(difference(against(rows, task, o, method)) for o in OPTIMIZERS))
    for method in _methods(rows, task)
    if method != OURS
  ]
  return tables.markdown(['unilth against', *_OPTIMIZERS], cells)


def against(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[float]:
  """Returns unilth's points above a method, per seed that both have."""
  ours = _accuracies(rows, task, optimizer, OURS)
  theirs = _accuracies(rows, task, optimizer, method)
  return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _settings_table(search: Sequence[Row]) -> list[str]:
  frame = pd.DataFrame(search, columns=COLUMNS)
  frame['accuracy'] = 100 * frame['validation_accuracy'].astype(float)
  names = ['recipe', 'optimizer', 'method', 'settings']
  cells = [
    (*key[:-1], key[-1] or 'defaults', str(mean(runs['accuracy'])))
    for key, runs in frame.groupby(names)
  ]
  return [
    'Mean validation accuracy of the settings that were tried, seeds '
    f'{", ".join(map(str, SEARCH_SEEDS))}; `rate` is in units of the '
    "recipe's.",
    '',
    *tables.markdown([*names, 'validation accuracy'], cells),
  ]


def _circumstances(rows: Sequence[Row]) -> list[str]:
  versions = sorted({row['versions'] for row in rows})
  return [
    f'{platform.machine()}, {os.cpu_count()} cores; {"; ".join(versions)}.'
  ]


def _methods(rows: Sequence[Row], task: str) -> list[str]:
  return [
    method
    for method in METHODS
    if any(row['recipe'] == task and row['method'] == method for row in rows)
  ]


def _accuracies(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> dict[str, float]:
  return {
    row['seed']: 100 * float(row['test_accuracy'])
    for row in rows_of(rows, task, optimizer, method)
  }
