"""The report of `recipes.pretrained`."""

import os
import platform
from collections.abc import Sequence

from recipes.comparison.pretrained_rows import Row, rows_of
from recipes.comparison.pretrained_search import OURS, SEARCH_SEEDS
from recipes.comparison.pretrained_trials import METHODS, OPTIMIZERS, TASKS
from recipes.comparison.tables import mean


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
  lines = _head('method')
  dense = {
    row['seed']: 100 * float(row['dense_test_accuracy'])
    for row in rows
    if row['recipe'] == task
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
    for row in rows_of(rows, task, optimizer, method)
  ]
  return [after - before for after, before in pairs]


def ours_table(rows: Sequence[Row], task: str) -> list[str]:
  """Returns the points of unilth against each other method."""
  lines = _head('unilth above')
  for method in _methods(rows, task):
    if method != OURS:
      cells = [_points(against(rows, task, o, method)) for o in OPTIMIZERS]
      lines.append(_line(method, cells))
  return lines


def against(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[float]:
  """Returns unilth's points above a method, per seed that both have."""
  ours = _accuracies(rows, task, optimizer, OURS)
  theirs = _accuracies(rows, task, optimizer, method)
  return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def _settings_table(search: Sequence[Row]) -> list[str]:
  lines = [
    'Mean validation accuracy of the settings that were tried, seeds '
    f'{", ".join(map(str, SEARCH_SEEDS))}; `rate` is in units of the '
    "recipe's.",
    '',
    '| task | optimizer | method | settings | validation accuracy |',
    '|---|---|---|---|---|',
  ]
  groups: dict[tuple[str, ...], list[float]] = {}
  names = 'recipe', 'optimizer', 'method', 'settings'
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
    if any(row['recipe'] == task and row['method'] == method for row in rows)
  ]


def _accuracies(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> dict[str, float]:
  return {
    row['seed']: 100 * float(row['test_accuracy'])
    for row in rows_of(rows, task, optimizer, method)
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
