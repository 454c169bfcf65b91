"""Tables of a comparison: means, differences, costs and the search."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from recipes.common import tables
from recipes.comparison import intervals
from recipes.comparison.methods import ABLATIONS
from recipes.comparison.trials import COLUMNS, Row

# The methods of this library, and the baselines of each.
BASELINES = {
  'unilth': (
    'gmp',
    'gmp_restart',
    'gmp_global',
    'gmp_global_restart',
    'oneshot',
    'oneshot_restart',
    'lr_rewind',
    'cyclic',
    'hypersparse',
    'lth',
    'lth_late',
    'lth_full',
    'oneshot_global',
    'small_dense',
    'unilth_no_ramp_no_plateau',
  ),
  'unidlth': (
    'random',
    'random_erk',
    'rigl',
    'random_cut',
    'dlth',
    'dlth_erk',
    'dlth_iter',
    'small_dense',
  ),
}


DIFFERENCES = (
  'Points of test accuracy: mean of the differences per seed ± half of its 95% '
  "interval by Student's t (seeds). Above or below: the interval excludes 0."
)


@dataclasses.dataclass(frozen=True)
class Mean:
  """A mean over seeds.

  Args:
    value: the mean.
    deviation: the standard deviation over seeds; 0 for one seed.
    seeds: how many there are.
  """

  value: float
  deviation: float
  seeds: int

  @property
  def error(self) -> float:
    """The standard error of the mean."""
    return self.deviation / np.sqrt(self.seeds)

  @property
  def margin(self) -> float:
    """Half of the 95% interval by Student's t; infinite for one seed."""
    if self.seeds == 1:
      return np.inf
    return intervals.half_width(self.seeds - 1) * self.error

  @property
  def verdict(self) -> str:
    """Where the 95% interval lies: above 0, below it, or around it.

    >>> mean([1.0, 1.1]).verdict, mean([-2.0, 1.0]).verdict
    ('above', 'not told apart')
    """
    if abs(self.value) <= self.margin:
      return 'not told apart'
    return 'above' if self.value > 0 else 'below'

  def __str__(self) -> str:
    if self.seeds == 1:
      return f'{self.value:.2f} (1)'
    return f'{self.value:.2f} ± {self.deviation:.2f} ({self.seeds})'


def mean(values: Sequence[float]) -> Mean:
  """Returns the mean of at least one value."""
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return Mean(float(np.mean(values)), deviation, len(values))


def difference(values: Sequence[float]) -> str:
  """Returns a mean of differences, its 95% interval and what that says.

  One seed has no interval.

  >>> difference([1.0, 1.2]), difference([-1.0, 3.0])
  ('+1.10 ± 1.27 (2), not told apart', '+1.00 ± 25.41 (2), not told apart')
  >>> difference([1.0, 1.2, 1.1]), difference([2.0]), difference([])
  ('+1.10 ± 0.25 (3), above', '+2.00 (1)', '')
  """
  if not len(values):
    return ''
  found = mean(values)
  if found.seeds == 1:
    return f'{found.value:+.2f} (1)'
  of = f'{found.value:+.2f} ± {found.margin:.2f} ({found.seeds})'
  return f'{of}, {found.verdict}'


def _compared(rows: Iterable[Row]) -> pd.DataFrame:
  """Returns the runs that are compared, with accuracies in percent."""
  frame = pd.DataFrame(list(rows), columns=COLUMNS)
  frame = frame[frame['chosen'].astype(bool)]
  return frame.assign(accuracy=100 * frame['test_accuracy'].astype(float))


def accuracies(rows: Iterable[Row]) -> dict[str, dict[float, dict[int, float]]]:
  """Returns test accuracies in percent, by method, sparsity and seed."""
  return {
    method: {
      sparsity: dict(zip(cell['seed'], cell['accuracy']))
      for sparsity, cell in of_method.groupby('target_sparsity', sort=False)
    }
    for method, of_method in _compared(rows).groupby('method', sort=False)
  }


def accuracy_table(rows: Sequence[Row]) -> list[str]:
  """Returns mean, deviation and number of seeds, per method and sparsity."""
  cells = _compared(rows).pivot_table(
    index='method',
    columns='target_sparsity',
    values='accuracy',
    aggfunc=lambda values: str(mean(values)),
    sort=False,
  )
  cells = cells.reindex(columns=sorted(cells.columns))
  if 0.0 in cells.columns and len(cells.columns) > 1:
    # A method without a target has the same accuracy in each column.
    dense = cells.pop(0.0)
    cells = cells.apply(lambda column: column.fillna(dense))
  return _markdown(f'method{suffix(rows)}', cells)


def suffix(rows: Sequence[Row]) -> str:
  """Returns what the names of methods need where whole units are pruned.

  >>> suffix([{'structure': 'channels'}]), suffix([{}])
  (' (channels)', '')
  """
  is_channels = any(row.get('structure') == 'channels' for row in rows)
  return ' (channels)' if is_channels else ''


def beside(method: str) -> list[str]:
  """Returns the baselines and the ablations of one of our methods."""
  own = [name for name in ABLATIONS if name.startswith(f'{method}_')]
  return [*BASELINES[method], *own]


def difference_table(rows: Sequence[Row], method: str) -> list[str]:
  """Returns the differences of a method to its baselines and ablations.

  A cell has the mean of the differences over the seeds that both have, half of
  its 95% interval, the number of these seeds, and whether the interval is above
  0 or below it.
  """
  by_seed = _compared(rows).pivot_table(
    index=['target_sparsity', 'seed'], columns='method', values='accuracy'
  )
  others = [name for name in beside(method) if name in by_seed.columns]
  if method not in by_seed.columns or not others:
    return []
  ours = by_seed[method].dropna()
  points = by_seed.loc[ours.index, others].rsub(ours, axis=0)
  cells = points.groupby('target_sparsity').agg(
    lambda values: difference(values.dropna())
  )
  return _markdown(f'{method} against{suffix(rows)}', cells.T)


def cost_table(rows: Iterable[Row]) -> list[str]:
  """Returns epochs, steps and seconds of a run at the highest sparsity."""
  frame = _compared(rows)
  methods = frame['method'].unique()
  highest = frame.groupby('method')['target_sparsity'].transform('max')
  frame = frame[frame['target_sparsity'] == highest]
  cells = frame.groupby('method', sort=False).agg(
    **{
      'sparsity': ('target_sparsity', lambda s: _percent(s.iloc[0])),
      'epochs': ('epochs', lambda epochs: f'{epochs.iloc[0]:.0f}'),
      'steps': ('steps', lambda steps: f'{steps.iloc[0]:,.0f}'),
      'seconds': ('seconds', lambda seconds: f'{seconds.median():.0f}'),
      'test accuracy, %': ('accuracy', lambda values: str(mean(values))),
    }
  )
  return _markdown('method', cells.loc[methods])


def settings_table(rows: Iterable[Row]) -> list[str]:
  """Returns the hyperparameters that each method was compared with."""
  frame = pd.DataFrame(list(rows), columns=COLUMNS)
  pairs = frame[['method', 'knobs']].drop_duplicates()
  return tables.markdown(
    ['method', 'knobs'],
    [(method, _in_words(knobs)) for method, knobs in pairs.to_numpy()],
  )


def _in_words(knobs: str) -> str:
  return knobs.replace(' ', ', ') or 'its own'


def search_table(rows: Iterable[Row]) -> list[str]:
  """Returns the validation accuracies of the search, per method and setting."""
  frame = pd.DataFrame(list(rows), columns=COLUMNS)
  compared = frame[frame['chosen'].astype(bool)]
  chosen = set(zip(compared['method'], compared['knobs']))
  frame = frame[frame['searched'].astype(bool)]
  cells = [
    (
      method,
      _in_words(knobs),
      str(mean(100 * runs['validation_accuracy'])),
      'chosen' if (method, knobs) in chosen else '',
    )
    for (method, knobs), runs in frame.groupby(['method', 'knobs'], sort=False)
  ]
  return tables.markdown(
    ['method', 'knobs', 'validation accuracy, %', ''], cells
  )


def _percent(share: float) -> str:
  return f'{100 * share:.6g}%'


def _markdown(first: str, cells: pd.DataFrame) -> list[str]:
  """Returns a table whose index is its first column, empty where it is NaN."""
  columns = [c if isinstance(c, str) else _percent(c) for c in cells.columns]
  rows = cells.fillna('').itertuples(name=None)
  return tables.markdown([first, *columns], rows)
