"""The table and the plot of `recipes.costs.latency`."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recipes.common import call_times, figures, tables
from recipes.common.wording import count

# A file: its network, label, base, bytes, kernels and times.
Row = Mapping[str, Any]


def speedup(
  row: Row, base: Row, setting: str
) -> tuple[float, float, float] | None:
  """Returns how many times as fast a file is as its base, and the spread.

  Args:
    row: of the file.
    base: of the file it is compared with.
    setting: of the call, a key of `seconds`.

  Returns:
    The ratio of the least times, and the least and largest ratio of those of
    the parts of the run; `None` where one of them was not timed.

  >>> base = {'seconds': {'a': [4.0, 2.0]}}
  >>> speedup({'seconds': {'a': [1.0, 1.0]}}, base, 'a')
  (2.0, 2.0, 4.0)
  """
  times, others = row['seconds'].get(setting), base['seconds'].get(setting)
  if not times or not others:
    return None
  return call_times.ratio(times, others)


def with_bases(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
  """Returns each row with that of the file it is compared with."""
  rows = list(rows)
  by_label = {(row['network'], row['label']): row for row in rows}
  return [(row, by_label[row['network'], row['base']]) for row in rows]


def settings(rows: Sequence[Row]) -> list[str]:
  """Returns all settings that any file was timed in, in their order."""
  return list(dict.fromkeys(s for row in rows for s in row['seconds']))


def setting_name(threads: int, batch: int | str) -> str:
  """Returns the name of a setting, such as `1 thread, batch 32`."""
  return f'{count(threads, "thread")}, batch {batch}'


def _cell(row: Row, base: Row, setting: str) -> str:
  if row is base:
    times = row['seconds'].get(setting)
    return f'{1e3 * min(times):.3g} ms' if times else ''
  found = speedup(row, base, setting)
  if found is None:
    return ''
  ratio, low, high = found
  return f'{ratio:.2f} ({low:.2f} to {high:.2f})'


def _runs_sparse(row: Row) -> str:
  kernels = row['kernels']
  sparse = sum(n for name, n in kernels.items() if name.startswith('sparse'))
  return f'{sparse} of {sum(kernels.values())}' if kernels else ''


def table(rows: Sequence[Row]) -> str:
  """Returns how many times as fast each file is as its base, as Markdown.

  Args:
    rows: of all files.
  """
  columns = settings(rows)
  lines = [
    (
      row['network'],
      row['label'],
      f'{row["bytes"]:,}',
      _runs_sparse(row),
      *(_cell(row, base, setting) for setting in columns),
    )
    for row, base in with_bases(rows)
  ]
  headers = ('network', 'file', 'bytes', 'run sparse', *columns)
  # Files that were there before have no network, SavedModels no known kernels.
  empty = {i for i in (0, 3) if not any(line[i] for line in lines)}
  head, *rest = (
    [cell for i, cell in enumerate(line) if i not in empty]
    for line in (headers, *lines)
  )
  return '\n'.join(tables.markdown(head, rest)) + '\n'


def summary(rows: Sequence[Row], threads: int = 1) -> list[str]:
  """Returns the lines of a table with a row per network and variant.

  Args:
    rows: of networks, not of files that were there before.
    threads: of the calls to show.
  """
  prefix = setting_name(threads, '')  # Ends before the batch size.
  batches = [s for s in settings(rows) if s.startswith(prefix)]
  cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
  for row, base in with_bases(rows):
    if row is not base:
      runtime, _, variant = row['label'].partition(', ')
      line = cells.setdefault((row['network'], variant), {})
      for setting in batches:
        line[runtime, setting] = _cell(row, base, setting)
  columns = list(dict.fromkeys(key for line in cells.values() for key in line))
  headers = [
    f'{runtime}, batch {setting.removeprefix(prefix)}'
    for runtime, setting in columns
  ]
  return tables.markdown(
    ('network', 'variant', *headers),
    [
      (network, variant, *(line.get(key, '') for key in columns))
      for (network, variant), line in cells.items()
    ],
  )


def plot(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Draws how many times as fast each file is, a panel per network.

  Args:
    path: of the PNG to write.
    rows: of all files.
  """
  panels = {
    network: [pair for pair in pairs if pair[0] is not pair[1]]
    for network, pairs in itertools.groupby(
      with_bases(rows), lambda pair: pair[0]['network']
    )
  }
  longest = max(map(len, panels.values()))
  with figures.styled() as pyplot:
    figure, axes = pyplot.subplots(
      1,
      len(panels),
      figsize=(3 + 5 * len(panels), 2 + 0.4 * longest),
      squeeze=False,
      layout='constrained',
    )
    for axis, (network, pairs) in zip(axes[0], panels.items(), strict=True):
      _draw(axis, network, pairs)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=4)
    figures.save(pyplot, figure, path)


def _draw(axis: Any, network: str, pairs: Sequence[tuple[Row, Row]]) -> None:
  colours = (figures.BLUE, figures.RED, figures.GREEN, figures.GREY)
  columns = settings([row for row, _ in pairs])
  for number, setting in enumerate(columns):
    for place, (row, base) in enumerate(pairs):
      found = speedup(row, base, setting)
      if found is None:
        continue
      ratio, low, high = found
      axis.errorbar(
        ratio,
        place + 0.15 * (number - (len(columns) - 1) / 2),
        # A ratio of minima may lie outside of those of the parts.
        xerr=[[max(ratio - low, 0)], [max(high - ratio, 0)]],
        fmt='o',
        markersize=4,
        color=colours[number % len(colours)],
        capsize=2,
        label='' if place else setting,
      )
  axis.axvline(1, color=figures.GREY, linewidth=1)
  axis.set_yticks(range(len(pairs)), [row['label'] for row, _ in pairs])
  axis.set_ylim(len(pairs) - 0.5, -0.5)
  axis.set_title(network or 'files')
  axis.set_xlabel('times as fast')
  axis.grid(visible=False, axis='y')
