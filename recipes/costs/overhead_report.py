"""The table and the plot of `recipes.costs.overhead`."""

import itertools
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recipes.common import figures, tables
from recipes.costs.workloads import DENSE

Row = Mapping[str, Any]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
  first, median, third = statistics.quantiles(values, n=4, method='inclusive')
  return first, median, third


def _merged(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
  """Yields the rows of each method and stage, with what to call them."""

  def label(row: Row) -> str:
    return ', '.join(filter(None, (row['method'], row['stage'])))

  for name, same in itertools.groupby(rows, label):
    yield name, list(same)


def _all(rows: Sequence[Row], name: str) -> list[float]:
  return [value for row in rows for value in row[name]]


def _time_rows(title: str, rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
  for name, same in _merged(rows):
    milliseconds = 1e3 * statistics.median(_all(same, 'seconds'))
    first, median, third = _quartiles(_all(same, 'ratios'))
    ratio = f'{median:.3f} ({first:.3f} to {third:.3f})'
    yield (
      title,
      name,
      f'{milliseconds:.3g} ms',
      '1' if name == DENSE else ratio,
    )
    title = ''


def _event_rows(
  events: Mapping[str, Any], step: float
) -> Iterator[tuple[str, ...]]:
  for name, seconds in events.items():
    median = statistics.median(seconds)
    yield name, '', f'{1e3 * median:.3g} ms', f'{median / step:.2g} steps'


def _footprint_rows(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
  of = {
    method: list(same)
    for method, same in itertools.groupby(
      sorted(rows, key=lambda r: r['method']), lambda r: r['method']
    )
  }

  def median(method: str, name: str) -> float:
    return statistics.median(row[name] for row in of[method])

  for method in of:
    first = median(method, 'first_step')
    ratio = first / median(DENSE, 'first_step')
    yield 'first step', method, f'{first:.3g} s', f'{ratio:.3f}'
  for method in of:
    peak = median(method, 'peak_bytes')
    more, copies = peak - median(DENSE, 'peak_bytes'), ''
    wrapped = median(method, 'wrapped_bytes')
    if wrapped:
      copies = (
        f'{more / 1e6:+.0f} MB, {more / wrapped:.1f} copies of the wrapped '
        'weights'
      )
    yield 'peak memory', method, f'{peak / 1e6:.0f} MB', copies


def table(model: str, found: Row) -> str:
  """Returns a model's times as a Markdown table."""
  dense = [row for row in found['steps'] if row['method'] == DENSE]
  step = statistics.median(_all(dense, 'seconds'))
  rows = [
    *_time_rows('step', found['steps']),
    *_time_rows('evaluate', found['evaluate']),
    *_time_rows('predict', found['predict']),
    *_event_rows(found.get('events', {}), step),
    *_footprint_rows(found['footprints']),
  ]
  lines = tables.markdown([model, '', 'median', 'of the dense'], rows)
  # Cells between others are empty as in the committed tables.
  return '\n'.join(lines).replace(' |  | ', ' | | ') + '\n'


def _ratios(found: Row) -> Iterator[tuple[str, list[float]]]:
  """Yields what a panel shows, each row with its name."""
  for name, same in _merged(
    [r for r in found['steps'] if r['method'] != DENSE]
  ):
    yield name, _all(same, 'ratios')
  for kind in ('evaluate', 'predict'):
    for row in found[kind]:
      if row['method'] != DENSE:
        yield f'{kind}: {row["method"]}', row['ratios']


def plot(path: pathlib.Path, models: Mapping[str, Row]) -> None:
  """Draws the ratios of steps and evaluations, a panel per model."""
  rows = {model: dict(_ratios(found)) for model, found in models.items()}
  # The panels share their rows; a method need not be in all of them.
  names = list(dict.fromkeys(name for found in rows.values() for name in found))
  with figures.styled() as pyplot:
    figure, axes = pyplot.subplots(
      1,
      len(models),
      figsize=(2 + 4 * len(models), 6),
      sharey=True,
      squeeze=False,
      layout='constrained',
    )
    for axis, (model, found) in zip(axes[0], rows.items(), strict=True):
      for name, ratios in found.items():
        first, median, third = _quartiles(ratios)
        stock = 'tfmot' in name
        axis.errorbar(
          median,
          names.index(name),
          xerr=[[median - first], [third - median]],
          fmt='s' if stock else 'o',
          color=figures.RED if stock else figures.BLUE,
          capsize=3,
        )
      axis.axvline(1, color=figures.GREY, linewidth=1)
      axis.set_yticks(range(len(names)), names)
      axis.set_ylim(len(names) - 0.5, -0.5)
      axis.set_title(model)
      axis.set_xlabel('time, dense model = 1')
      axis.grid(visible=False, axis='y')
    figure.suptitle("Ours (circles), tfmot's wrapper (squares)")
    figures.save(pyplot, figure, path)
