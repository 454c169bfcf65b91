"""Plots of a report, as PNG files; they need matplotlib."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tf_unilth
from recipes.common import figures
from recipes.common.wording import count
from recipes.training.epoch_plot import epochs_figure

# The names of the files, in the order of a report.
FILES = {
  'epochs.png': 'Loss, accuracy and sparsity over the epochs',
  'layers.png': 'Sparsity per layer',
  'weights.png': 'Weights before and after',
}


def draw(
  directory: pathlib.Path,
  title: str,
  history: Mapping[str, Sequence[float]],
  results: Mapping[str, Any],
  summary: tf_unilth.SparsitySummary,
  histograms: Mapping[str, Any],
) -> None:
  """Draws `FILES`.

  Args:
    directory: where.
    title: of the plots.
    history: the epoch logs.
    results: for the plateau, the rewind and the numbers of weights.
    summary: the kernels, with their zeros.
    histograms: of the weights, by when, from `history_writer.histogram`.
  """
  with figures.styled() as plt:
    for name, figure in (
      ('epochs.png', epochs_figure(plt, title, history, results)),
      ('layers.png', _layers(plt, title, summary)),
      ('weights.png', _weights(plt, title, histograms)),
    ):
      figures.save(plt, figure, directory / name)


def _layers(plt: Any, title: str, summary: tf_unilth.SparsitySummary) -> Any:
  """Draws the sparsity of each kernel as a bar, with its remaining weights."""
  layers = summary.rows
  figure, axis = plt.subplots(
    figsize=(8, 1.8 + 0.3 * len(layers)), layout='constrained'
  )
  places = np.arange(len(layers))
  axis.barh(places, [100 * row.sparsity for row in layers], color=figures.BLUE)
  for place, row in zip(places, layers, strict=True):
    axis.text(
      101.5,
      place,
      f'{row.weights - row.zeros:,} of {row.weights:,}',
      va='center',
      fontsize=9,
    )
  axis.set_yticks(places, [row.name for row in layers])
  axis.invert_yaxis()
  axis.grid(False, axis='y')
  axis.set_xlim(0, 100)
  axis.set_xlabel('sparsity, %')
  axis.text(101.5, -0.8, 'weights left', fontsize=9, color=figures.GREY)
  total = sum(row.weights for row in layers)
  zeros = sum(row.zeros for row in layers)
  axis.axvline(
    100 * zeros / total,
    color='black',
    linestyle=':',
    label=f'all layers: {zeros / total:.2%}, '
    f'{count(total - zeros, "weight")} left',
  )
  figure.legend(loc='outside lower center')
  figure.suptitle(title, x=0.02, ha='left', fontsize=12)
  return figure


def _weights(plt: Any, title: str, histograms: Mapping[str, Any]) -> Any:
  """Draws histograms of the non-zero weights on a log scale."""
  figure, axis = plt.subplots(figsize=(8, 4), layout='constrained')
  styles = {
    'at the start': (figures.GREY, ':'),
    'before pruning': (figures.BLUE, '--'),
    'at the end': (figures.RED, '-'),
  }
  low = high = 0.0
  for when, found in histograms.items():
    counts = np.asarray(found['counts'])
    edges = np.linspace(-found['limit'], found['limit'], len(counts) + 1)
    colour, style = styles[when]
    axis.stairs(
      counts / (edges[1] - edges[0]) / 100,
      edges,
      color=colour,
      linestyle=style,
      linewidth=1.3,
      label=f'{when}: {counts.sum():,}',
    )
    used = np.flatnonzero(counts)
    low = min(low, edges[used[0]]) if len(used) else low
    high = max(high, edges[used[-1] + 1]) if len(used) else high
  axis.set_xlim(1.05 * low, 1.05 * high)
  axis.set_yscale('log')
  axis.set_xlabel('weight')
  axis.set_ylabel('weights per 0.01, without zeros')
  figure.legend(loc='outside lower center', ncols=3)
  figure.suptitle(title, x=0.02, ha='left', fontsize=12)
  return figure
