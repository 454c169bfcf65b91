"""The plots of a report, as PNG; they need matplotlib."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipes import figures
from tf_unilth.engines.tfmot.sparsity_summary import KernelSparsity
from tf_unilth.wording import count

# Okabe and Ito's colours, which colour-blind people can tell apart.
_BLUE, _RED, _GREEN, _GREY = '#0072B2', '#D55E00', '#009E73', '#666666'
_STAGES = {
  1: ('dense', '#FFFFFF'),
  2: ('rounds', '#F0E442'),
  3: ('finetuning', '#56B4E9'),
}
_TWO_DECADES = 100.0
# The share of a search's trials that may lie below a plot: some learn nothing.
_WORST_TRIALS = 0.25
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
  layers: Sequence[KernelSparsity],
  histograms: Mapping[str, Any],
) -> None:
  """Draws `FILES`.

  Args:
    directory: where.
    title: of the plots.
    history: the epoch logs.
    results: for the plateau, the rewind and the numbers of weights.
    layers: the kernels, with their zeros.
    histograms: of the weights, by when, as `records.histogram` returns them.
  """
  with figures.styled() as plt:
    for name, figure in (
      ('epochs.png', _epochs(plt, title, history, results)),
      ('layers.png', _layers(plt, title, layers)),
      ('weights.png', _weights(plt, title, histograms)),
    ):
      figures.save(plt, figure, directory / name)


def _epochs(
  plt: Any,
  title: str,
  history: Mapping[str, Sequence[float]],
  results: Mapping[str, Any],
) -> Any:
  """Draws loss, accuracy and, if there is any, sparsity, in that order."""
  sparse = any(history.get('sparsity', ()))
  heights = [3, 3, 1.6] if sparse else [3, 3]
  figure, axes = plt.subplots(
    len(heights),
    figsize=(8, sum(heights) + 1),
    sharex=True,
    height_ratios=heights,
    layout='constrained',
  )
  epochs = np.arange(1, len(history['loss']) + 1)
  for axis, name, scale in ((axes[0], 'loss', 1), (axes[1], 'accuracy', 100)):
    for key, label, colour, style in (
      (name, 'training', _BLUE, '-'),
      (f'val_{name}', 'validation', _RED, '--'),
    ):
      values = scale * np.asarray(history[key])
      axis.plot(epochs, values, style, color=colour, label=label)
  _scale_loss(axes[0])
  axes[0].set_ylabel('loss')
  axes[1].set_ylabel('accuracy, %')
  # Not the first epochs, or nothing could be told of the others.
  _zoom(axes[1], [history['accuracy'], history['val_accuracy']])
  if sparse:
    axes[2].step(
      [0, *epochs],
      [0, *(100 * np.asarray(history['sparsity']))],
      where='post',
      color=_GREEN,
    )
    axes[2].set_ylabel('sparsity, %')
    axes[2].set_ylim(0, 105)
  for axis in axes:
    _mark_stages(axis, history, top=axis is axes[0])
  _mark_rewind(axes[0], results)
  axes[-1].set_xlabel('epoch')
  axes[-1].set_xlim(0, 1.01 * len(epochs))
  axes[-1].xaxis.get_major_locator().set_params(integer=True)
  handles, labels = axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside lower center', ncols=4)
  figure.suptitle(title, x=0.02, ha='left', fontsize=12)
  return figure


def _scale_loss(axis: Any) -> None:
  """Makes an axis logarithmic, with labels as close as there is room for.

  Powers of ten alone would leave an axis of less than two decades, as most
  losses have, with one label or none.
  """
  axis.set_yscale('log', subs=())
  low, high = axis.get_ylim()
  if high < _TWO_DECADES * low:
    axis.yaxis.get_major_locator().set_params(subs=(1, 1.5, 2, 3, 5, 7))
  axis.yaxis.set_major_formatter('{x:g}')


def _zoom(
  axis: Any, curves: Sequence[Sequence[float]], share: float = 0.03
) -> None:
  """Leaves out a share of the values, the lowest."""
  values = 100 * np.concatenate([curve for curve in curves])
  low = np.quantile(values, share)
  span = max(values.max() - low, 1.0)
  axis.set_ylim(max(low - 0.1 * span, 0), min(values.max() + 0.1 * span, 101))


def _mark_stages(
  axis: Any, history: Mapping[str, Sequence[float]], top: bool
) -> None:
  """Shades the stages, and marks the epochs in which a round ended."""
  stages = np.asarray(history.get('stage', ()))
  for stage, (name, colour) in _STAGES.items():
    epochs = np.flatnonzero(stages == stage)
    if len(epochs):
      # The logs have the stage at the end of an epoch: it began in that.
      begin = epochs[0] + 1 if epochs[0] else 0
      end = min(epochs[-1] + 2, len(stages))
      axis.axvspan(begin, end, color=colour, alpha=0.16, linewidth=0)
      if top and begin < end:
        axis.text(
          (begin + end) / 2,
          1.0,
          name,
          transform=axis.get_xaxis_transform(),
          ha='center',
          va='bottom',
          fontsize=9,
          color=_GREY,
        )
  rounds = np.diff([0, *history.get('round', ())])
  ended = np.flatnonzero(rounds > 0) + 1
  if not len(ended):
    return
  axis.plot(
    ended,
    np.zeros(len(ended)),
    '|',
    color='black',
    markersize=9,
    transform=axis.get_xaxis_transform(),
    clip_on=False,
    label='a round ended' if top else None,
  )


def _mark_rewind(axis: Any, results: Mapping[str, Any]) -> None:
  plateau, to = results['plateau_epoch'], results['rewound_to_epoch']
  if plateau is None:
    return
  axis.axvline(plateau, color='black', linestyle=':', label='plateau')
  if to is not None:
    axis.annotate(
      '',
      xy=(to, 0.92),
      xytext=(plateau, 0.92),
      xycoords=axis.get_xaxis_transform(),
      arrowprops={'arrowstyle': '->', 'color': 'black', 'linewidth': 1.5},
    )
    axis.text(
      plateau,
      0.92,
      f'  rewound to epoch {to}',
      transform=axis.get_xaxis_transform(),
      va='center',
      fontsize=9,
    )


def _layers(plt: Any, title: str, layers: Sequence[KernelSparsity]) -> Any:
  """Draws a bar per kernel, with how many of its weights are left."""
  figure, axis = plt.subplots(
    figsize=(8, 1.8 + 0.3 * len(layers)), layout='constrained'
  )
  places = np.arange(len(layers))
  axis.barh(places, [100 * row.sparsity for row in layers], color=_BLUE)
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
  axis.text(101.5, -0.8, 'weights left', fontsize=9, color=_GREY)
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
  """Draws how the weights that are not 0 are distributed, on a log scale."""
  figure, axis = plt.subplots(figsize=(8, 4), layout='constrained')
  styles = {
    'at the start': (_GREY, ':'),
    'before pruning': (_BLUE, '--'),
    'at the end': (_RED, '-'),
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


def draw_search(
  path: pathlib.Path, title: str, trials: Sequence[Mapping[str, Any]]
) -> None:
  """Draws the trials of a search, in their order and by their sparsity.

  Args:
    path: of the PNG.
    title: of the plot.
    trials: `tune_report.rows`.
  """
  done = [
    {'number': number, **trial}
    for number, trial in enumerate(trials)
    if 'accuracy' in trial
  ]
  several = len({trial['sparsity'] for trial in done}) > 1
  with figures.styled() as plt:
    figure, axes = plt.subplots(
      1 + several,
      figsize=(8, 4 + 4 * several),
      layout='constrained',
      squeeze=False,
    )
    _trials_in_order(axes[0, 0], done, several)
    if several:
      _front(axes[1, 0], done)
    hidden = sum(
      100 * trial['accuracy'] < axes[0, 0].get_ylim()[0] for trial in done
    )
    figure.legend(loc='outside lower center', ncols=5)
    figure.suptitle(
      f'{title}: {count(len(trials), "trial")}, {len(trials) - len(done)} '
      f'failed, {hidden} too inaccurate to be shown',
      x=0.02,
      ha='left',
      fontsize=12,
    )
    figures.save(plt, figure, path)


def _trials_in_order(
  axis: Any, done: Sequence[Mapping[str, Any]], several: bool
) -> None:
  numbers = [trial['number'] for trial in done]
  accuracies = 100 * np.asarray([trial['accuracy'] for trial in done])
  axis.plot(
    numbers, accuracies, 'o', color=_GREY, label='' if several else 'a trial'
  )
  if not several:  # Else the least sparse would look best.
    best = np.maximum.accumulate(accuracies)
    axis.step(numbers, best, where='post', color=_BLUE, label='best so far')
  if numbers[0] == 0:
    axis.plot(0, accuracies[0], 'D', color=_RED, label='the defaults')
  axis.set_xlabel('trial')
  axis.set_ylabel('validation accuracy, %')
  axis.xaxis.get_major_locator().set_params(integer=True)
  _zoom(axis, [[trial['accuracy'] for trial in done]], _WORST_TRIALS)


def _front(axis: Any, done: Sequence[Mapping[str, Any]]) -> None:
  """Draws accuracy over what is left of the weights, sparser to the right."""
  for on_front, style, label in (
    (False, {'marker': 'o', 'color': _GREY, 'linestyle': ''}, 'beaten'),
    (True, {'marker': 'o', 'color': _BLUE, 'linestyle': '-'}, 'the front'),
  ):
    chosen = sorted(
      (t['sparsity'], t['accuracy']) for t in done if t['on_front'] == on_front
    )
    if chosen:
      sparsities, accuracies = zip(*chosen)
      left = 100 * (1 - np.asarray(sparsities))
      axis.plot(left, 100 * np.asarray(accuracies), label=label, **style)
  axis.set_xscale('log', subs=())
  axis.invert_xaxis()
  axis.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
  axis.xaxis.set_major_formatter('{x:g}')
  axis.set_xlabel('weights left, % (fewer to the right)')
  axis.set_ylabel('validation accuracy, %')
  low = np.quantile([trial['accuracy'] for trial in done], _WORST_TRIALS)
  shown = [t['accuracy'] for t in done if t['on_front'] or t['accuracy'] >= low]
  _zoom(axis, [shown], 0)
