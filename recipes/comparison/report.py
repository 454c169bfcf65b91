"""The report of a comparison: tables, plot, costs and failed runs.

  python -m recipes.comparison.report DIRECTORY...

writes the differences in the `report.md` of finished comparisons again, from
their `comparison.csv`.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from absl import app

from recipes.common import figures, files
from recipes.common.wording import count
from recipes.comparison import plot, tables
from recipes.comparison.trials import Grid, Row

_AGAINST = ' against the others'


def write(
  grid: Grid, command: str, jobs: int, failed: Mapping[str, str]
) -> None:
  """Writes `report.md` and, with matplotlib, the plot.

  Args:
    grid: whose finished runs are reported.
    command: that runs the comparison again.
    jobs: how many ran in parallel.
    failed: the error of each failed run, by its description.
  """
  rows, directory = grid.rows(), grid.directory
  share = _share(grid)
  sections = [
    [f'# {grid.recipe.name}: methods at {count(grid.epochs, "epoch")}'],
    ['```shell', command, '```'],
    [
      'Test accuracy in percent: mean ± standard deviation (seeds).'
      + (f' The columns are the {share}.' if grid.structure else '')
    ],
    tables.accuracy_table(rows),
  ]
  if figures.available() and any(row['target_sparsity'] for row in rows):
    title = f'{grid.recipe.name}, {count(grid.epochs, "epoch")} in all'
    plot.draw(directory / 'comparison.png', title, rows, share)
    sections += [['![test accuracy](comparison.png)']]
  sections += [*_differences(rows), *_cost(rows, jobs), *_search(rows)]
  if failed:
    each = [f'- {said}: {error}' for said, error in failed.items()]
    sections += [['## Failed'], ['Not in the tables:'], each]
  text = '\n\n'.join('\n'.join(lines) for lines in sections) + '\n'
  files.write_text(directory / 'report.md', text)


def _share(grid: Grid) -> str:
  """Returns what the targets are shares of, in words."""
  if not grid.structure:
    return 'sparsity'
  of = {'flops': 'FLOPs'}.get(grid.of or '', 'weights')
  return f'{of} removed by whole {grid.structure}'


def _differences(rows: Sequence[Row]) -> Iterator[list[str]]:
  for method in tables.BASELINES:
    table = tables.difference_table(rows, method)
    if table:
      yield [f'## {method}{_AGAINST}']
      yield [tables.DIFFERENCES]
      yield table


def _cost(rows: Sequence[Row], jobs: int) -> Iterator[list[str]]:
  yield ['## Cost']
  yield [f'Seconds of one run: median, {count(jobs, "run")} at a time.']
  yield tables.cost_table(rows)


_UNITS = (
  'learning_rate is a factor to that of the other runs, warmup_epochs a '
  'fraction of the epochs.'
)


def _search(rows: Sequence[Row]) -> Iterator[list[str]]:
  if any(row['searched'] for row in rows):
    yield ['## Search']
    yield [f'Hyperparameters (knobs) tried at the middle sparsity; {_UNITS}']
    yield tables.search_table(rows)
  elif any(row['knobs'] for row in rows):
    yield ['## Settings']
    yield [f'Those that another comparison chose (knobs); {_UNITS}']
    yield tables.settings_table(rows)


def write_differences(directory: pathlib.Path) -> None:
  """Writes the differences of a report again, and leaves the rest as it is.

  Args:
    directory: of a comparison, with `comparison.csv` and `report.md`.

  Raises:
    ValueError: the report has no section of costs, which follows them.
  """
  path = directory / 'report.md'
  sections = path.read_text().split('\n\n')
  if '## Cost' not in sections:
    raise ValueError(f'{path} must have a section "## Cost", but has none.')
  end = sections.index('## Cost')
  begin = next(
    (i for i, section in enumerate(sections) if section.endswith(_AGAINST)), end
  )
  frame = pd.read_csv(directory / 'comparison.csv')
  found = _differences(frame.to_dict('records'))
  sections[begin:end] = ['\n'.join(lines) for lines in found]
  files.write_text(path, '\n\n'.join(sections))


def _main(arguments: Sequence[str]) -> None:
  for name in arguments[1:]:
    write_differences(pathlib.Path(name))


if __name__ == '__main__':
  app.run(_main)
