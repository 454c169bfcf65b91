"""Loss, accuracy and sparsity over the epochs of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipes.common import figures

_STAGES = {
  1: ('dense', '#FFFFFF'),
  2: ('rounds', '#F0E442'),
  3: ('finetuning', '#56B4E9'),
}


_TWO_DECADES = 100.0


def epochs_figure(
  plt: Any,
  title: str,
  history: Mapping[str, Sequence[float]],
  results: Mapping[str, Any],
) -> Any:
  """Draws loss, accuracy and, for a pruned model, sparsity."""
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
  _draw_curves(axes, epochs, history)
  if sparse:
    axes[2].step(
      [0, *epochs],
      [0, *(100 * np.asarray(history['sparsity']))],
      where='post',
      color=figures.GREEN,
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


def _draw_curves(
  axes: Any, epochs: np.ndarray, history: Mapping[str, Sequence[float]]
) -> None:
  """Draws loss and accuracy, in training and validation."""
  for axis, name, scale in ((axes[0], 'loss', 1), (axes[1], 'accuracy', 100)):
    for key, label, colour, style in (
      (name, 'training', figures.BLUE, '-'),
      (f'val_{name}', 'validation', figures.RED, '--'),
    ):
      values = scale * np.asarray(history[key])
      axis.plot(epochs, values, style, color=colour, label=label)
  _scale_loss(axes[0])
  axes[0].set_ylabel('loss')
  axes[1].set_ylabel('accuracy, %')
  # Without the first epochs, next to which the others would look equal.
  figures.zoom(axes[1], [history['accuracy'], history['val_accuracy']])


def _scale_loss(axis: Any) -> None:
  """Makes an axis logarithmic, with labels between the powers of ten.

  Most losses span less than two decades, where powers of ten alone would give
  one label or none.
  """
  axis.set_yscale('log', subs=())
  low, high = axis.get_ylim()
  if high < _TWO_DECADES * low:
    axis.yaxis.get_major_locator().set_params(subs=(1, 1.5, 2, 3, 5, 7))
  axis.yaxis.set_major_formatter('{x:g}')


def _mark_stages(
  axis: Any, history: Mapping[str, Sequence[float]], top: bool
) -> None:
  """Shades the stages and marks the ends of rounds."""
  stages = np.asarray(history.get('stage', ()))
  for stage, (name, colour) in _STAGES.items():
    epochs = np.flatnonzero(stages == stage)
    if len(epochs):
      # The logs have the stage at the end of an epoch, in which it began.
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
          color=figures.GREY,
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
