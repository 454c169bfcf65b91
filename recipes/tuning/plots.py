"""The plot of a search's trials."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipes.common import figures
from recipes.common.wording import count

# The fraction of the trials that may be below the plot: some learn nothing.
_WORST_TRIALS = 0.25


def draw_search(
  path: pathlib.Path, title: str, trials: Sequence[Mapping[str, Any]]
) -> None:
  """Draws the trials of a search, in their order and by their sparsity.

  Args:
    path: of the PNG.
    title: of the plot.
    trials: `tf_unilth.tuner.trial_rows`.
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
    numbers,
    accuracies,
    'o',
    color=figures.GREY,
    label='' if several else 'a trial',
  )
  if not several:  # Else the least sparse would look best.
    best = np.maximum.accumulate(accuracies)
    axis.step(
      numbers, best, where='post', color=figures.BLUE, label='best so far'
    )
  if numbers[0] == 0:
    axis.plot(0, accuracies[0], 'D', color=figures.RED, label='the defaults')
  axis.set_xlabel('trial')
  axis.set_ylabel('validation accuracy, %')
  axis.xaxis.get_major_locator().set_params(integer=True)
  figures.zoom(axis, [[trial['accuracy'] for trial in done]], _WORST_TRIALS)


def _front(axis: Any, done: Sequence[Mapping[str, Any]]) -> None:
  """Draws accuracy over the fraction of remaining weights, decreasing."""
  for on_front, style, label in (
    (False, {'marker': 'o', 'color': figures.GREY, 'linestyle': ''}, 'beaten'),
    (
      True,
      {'marker': 'o', 'color': figures.BLUE, 'linestyle': '-'},
      'the front',
    ),
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
  figures.zoom(axis, [shown], 0)
