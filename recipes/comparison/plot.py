"""The plot of a comparison: accuracy over sparsity, with its errors."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recipes.common import figures
from recipes.comparison import tables
from recipes.comparison.trials import Row

_PANELS = {
  'found by magnitude': ('unilth', *tables.beside('unilth')),
  'drawn at random': ('unidlth', *tables.beside('unidlth')),
}
# One fewer than colours, so that many methods differ in one of them.
_MARKERS = 'os^vDPX<'
_TICKS = (
  *(0, 20, 40, 50, 60, 65, 70, 75, 80, 85, 90, 92.5, 95, 96, 97, 97.5),
  *(98, 98.5, 99, 99.25, 99.5, 99.75, 99.9),
)


def draw(
  path: pathlib.Path, title: str, rows: Iterable[Row], share: str = 'sparsity'
) -> None:
  """Draws means over the seeds; bands and bars are their standard errors.

  Args:
    path: of the PNG file.
    title: above the panels.
    rows: of the comparison.
    share: what the targets are shares of, in words.
  """
  found = tables.accuracies(rows)
  panels = {
    name: [method for method in methods if method in found]
    for name, methods in _PANELS.items()
  }
  # The control of both panels makes none by itself.
  panels = {
    name: methods
    for name, methods in panels.items()
    if methods
    and (methods != ['small_dense'] or {*found} <= {'dense', 'small_dense'})
  }
  columns = max(1, len(panels))
  with figures.styled() as pyplot:
    figure, axes = pyplot.subplots(
      1, columns, figsize=(5.5 * columns, 5), layout='constrained'
    )
    for axis, (name, methods) in zip(np.ravel(axes), panels.items()):
      _panel(axis, methods, found, share)
      axis.set_title(name, loc='left', fontsize=11)
    figure.suptitle(title, x=0.02, ha='left', fontsize=12)
    figures.save(pyplot, figure, path)


def _panel(
  axis: Any,
  methods: Sequence[str],
  found: Mapping[str, Mapping[float, Mapping[int, float]]],
  share: str,
) -> None:
  """Draws lines over the sparsities; of a single one, the methods in a row."""
  sparsities = sorted({s for method in methods for s in found[method]})
  means = {
    method: {
      s: tables.mean(list(found[method][s].values()))
      for s in sorted(found[method])
    }
    for method in methods
  }
  every = [mean for cells in means.values() for mean in cells.values()]
  shown = [m.value + sign * m.error for m in every for sign in (-1, 1)]
  if 'dense' in found:
    (by_seed,) = found['dense'].values()
    dense = tables.mean(list(by_seed.values()))
    shown.append(dense.value)
    axis.axhline(dense.value, color='black', linestyle=':', label='dense')
  if len(sparsities) == 1:
    _methods_in_a_row(axis, means)
    axis.set_xlabel(f'{share}: {100 * sparsities[0]:.6g}%')
  else:
    _lines(axis, means, sparsities)
    axis.set_xlabel(f'{share}, %')
  axis.set_ylabel('test accuracy, % (by log error)')
  ours = min(mean.value for mean in means[methods[0]].values())
  _scale_by_error(axis, shown, ours)
  if len(sparsities) == 1:
    _say_what_is_below(axis, [cells[sparsities[0]] for cells in means.values()])


def _methods_in_a_row(
  axis: Any, means: Mapping[str, Mapping[float, tables.Mean]]
) -> None:
  at = [mean for cells in means.values() for mean in cells.values()]
  axis.errorbar(
    range(len(at)),
    [mean.value for mean in at],
    [mean.error for mean in at],
    fmt='o',
    markersize=5,
    capsize=3,
    color=figures.BLUE,
  )
  first = next(iter(means))
  axis.axhline(at[0].value, color=figures.RED, linewidth=1, label=first)
  axis.set_xticks(range(len(at)), list(means), rotation=90, fontsize=9)
  axis.legend(loc='lower left', fontsize=9)


def _say_what_is_below(axis: Any, at: Sequence[tables.Mean]) -> None:
  """Writes the values of methods in a row that the scale leaves out."""
  low, _ = axis.get_ylim()
  for place, mean in enumerate(at):
    if mean.value < low:
      said = f'{mean.value:.1f}'
      axis.annotate(said, (place, low), ha='center', va='bottom', fontsize=9)


def _lines(
  axis: Any,
  means: Mapping[str, Mapping[float, tables.Mean]],
  sparsities: Sequence[float],
) -> None:
  places = {s: place for place, s in enumerate(sparsities)}
  for index, (method, cells) in enumerate(means.items()):
    x = [places[s] for s in cells]
    y = np.array([mean.value for mean in cells.values()])
    error = np.array([mean.error for mean in cells.values()])
    colour = figures.SERIES[index % len(figures.SERIES)]
    axis.plot(
      x,
      y,
      color=colour,
      marker=_MARKERS[index % len(_MARKERS)],
      markersize=5,
      linewidth=2.2 if method in tables.BASELINES else 1.2,
      label=method,
      zorder=3 if index == 0 else 2,
    )
    axis.fill_between(x, y - error, y + error, color=colour, alpha=0.18, lw=0)
  axis.set_xticks(
    range(len(sparsities)), [f'{100 * s:.6g}' for s in sparsities]
  )
  axis.legend(
    loc='upper center', bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9
  )


def _scale_by_error(axis: Any, shown: Sequence[float], ours: float) -> None:
  """Spreads what is near 100%; a method that collapses leaves it below.

  Args:
    axis: with accuracies in percent.
    shown: all of them.
    ours: the lowest of the first method, which is ours where it was run; down
      to twice its error is shown at most.
  """
  axis.set_yscale(
    'function',
    functions=(
      lambda accuracy: -np.log(np.maximum(100 - accuracy, 1e-2)),
      lambda value: 100 - np.exp(-value),
    ),
  )
  error = min(2 * max(100 - ours, 0.5), 1.1 * (100 - min(shown)))
  low = max(0, 100 - max(error, 0.5))
  high = 100 - max(0.9 * (100 - max(shown)), 0.01)
  axis.set_ylim(low, high)
  axis.set_yticks([tick for tick in _TICKS if low <= tick <= high])
  axis.yaxis.set_major_formatter('{x:g}')
