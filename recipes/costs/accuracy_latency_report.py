"""The table and the plot of `recipes.costs.accuracy_latency`."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recipes.common import call_times, figures, tables
from recipes.comparison.tables import Mean, mean

# A file: what it is, its accuracy and times.
Row = Mapping[str, Any]
_STRUCTURES = {'channels': 'channels', '': 'single weights'}
_SHARES = {'weights': 'weights', 'flops': 'FLOPs'}
_MARKERS = 'os^vDPX'


@dataclasses.dataclass(frozen=True)
class Point:
  """The files of one kind of network, over its seeds.

  Args:
    series: whose line it is on: method and structure.
    target: the share that was removed, in [0, 1).
    of: what it is a share of: `'weights'` or `'flops'`.
    bytes: the mean size of a file.
    accuracy: on the test images, in percent.
    times: by setting, the times of a call as shares of the dense network's, a
      share per seed.
  """

  series: str
  target: float
  of: str
  bytes: int
  accuracy: Mean
  times: Mapping[str, Sequence[float]]

  @property
  def name(self) -> str:
    """What it is, in words."""
    if not self.target:
      return self.series
    return f'{self.series}, {100 * self.target:g}% of the {_SHARES[self.of]}'


def points(rows: Sequence[Row]) -> list[Point]:
  """Returns the files of each kind, in their order.

  Args:
    rows: of all files, with a dense network in float32 of each seed.
  """
  dense = {
    row['seed']: row
    for row in rows
    if not row['target'] and row['weights'] == 'float32'
  }
  kinds: dict[tuple[str, float, str], list[Row]] = {}
  for row in rows:
    kind = _series(row), row['target'], row['of']
    kinds.setdefault(kind, []).append(row)
  return [
    Point(
      series,
      target,
      of,
      round(np.mean([row['bytes'] for row in of_kind])),
      mean([100 * row['test_accuracy'] for row in of_kind]),
      {
        setting: [_share(row, dense[row['seed']], setting) for row in of_kind]
        for setting in of_kind[0]['seconds']
      },
    )
    for (series, target, of), of_kind in kinds.items()
  ]


def _series(row: Row) -> str:
  if not row['target']:
    return (
      'dense' if row['weights'] == 'float32' else f'dense, {row["weights"]}'
    )
  if row['method'] == 'small_dense':
    return 'small_dense'
  return f'{row["method"]}, {_STRUCTURES[row["structure"]]}'


def _share(row: Row, dense: Row, setting: str) -> float:
  ratio, _, _ = call_times.ratio(
    dense['seconds'][setting], row['seconds'][setting]
  )
  return ratio


def table(rows: Sequence[Row]) -> str:
  """Returns accuracies and times as Markdown.

  Args:
    rows: of all files.
  """
  found = points(rows)
  settings = list(found[0].times)
  lines = [
    (
      point.name,
      f'{point.bytes:,}',
      str(point.accuracy),
      *(_cell(point.times[setting]) for setting in settings),
    )
    for point in found
  ]
  headers = ('network', 'bytes', 'test accuracy, %', *settings)
  return '\n'.join(tables.markdown(headers, lines))


def _cell(shares: Sequence[float]) -> str:
  middle = f'{np.mean(shares):.2f}'
  if len(shares) == 1:
    return middle
  return f'{middle} ({min(shares):.2f} to {max(shares):.2f})'


def plot(path: pathlib.Path, title: str, rows: Sequence[Row]) -> None:
  """Draws accuracy over the time of a call, a panel per batch size.

  Args:
    path: of the PNG to write.
    title: above the panels.
    rows: of all files.
  """
  found = points(rows)
  settings = list(found[0].times)
  with figures.styled() as pyplot:
    figure, axes = pyplot.subplots(
      1,
      len(settings),
      figsize=(5.5 * len(settings), 5),
      sharey=True,
      squeeze=False,
      layout='constrained',
    )
    for axis, setting in zip(axes[0], settings, strict=True):
      _panel(axis, setting, found)
    axes[0][0].set_ylabel('test accuracy, %')
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=3)
    figure.suptitle(title, x=0.02, ha='left', fontsize=12)
    figures.save(pyplot, figure, path)


def _panel(axis: Any, setting: str, found: Iterable[Point]) -> None:
  lines: dict[str, list[Point]] = {}
  for point in found:
    share = f' (% of the {_SHARES[point.of]})' if point.target else ''
    lines.setdefault(f'{point.series}{share}', []).append(point)
  for index, (series, of_series) in enumerate(lines.items()):
    times = [point.times[setting] for point in of_series]
    middle = [float(np.mean(shares)) for shares in times]
    axis.errorbar(
      middle,
      [point.accuracy.value for point in of_series],
      yerr=[point.accuracy.deviation for point in of_series],
      xerr=[
        [m - min(shares) for m, shares in zip(middle, times, strict=True)],
        [max(shares) - m for m, shares in zip(middle, times, strict=True)],
      ],
      color=figures.SERIES[index % len(figures.SERIES)],
      marker=_MARKERS[index % len(_MARKERS)],
      markersize=6,
      capsize=2,
      label=series,
    )
    for x, point in zip(middle, of_series, strict=True):
      if point.target:
        axis.annotate(
          f'{100 * point.target:g}%',
          (x, point.accuracy.value),
          xytext=(5, 5),
          textcoords='offset points',
          fontsize=9,
        )
  axis.set_xlim(left=0)
  axis.set_xlabel('time of a call (dense: 1)')
  axis.set_title(f'TFLite, {setting}', loc='left', fontsize=11)
