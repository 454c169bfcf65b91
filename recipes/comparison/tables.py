"""What a comparison says: means, differences and costs, as tables."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recipes.comparison.methods import ABLATIONS
from recipes.comparison.trials import Row

# Our methods, and what each of them has to beat.
RIVALS = {
  'unilth': (
    'gmp',
    'gmp_restart',
    'oneshot',
    'oneshot_restart',
    'lr_rewind',
    'lth',
    'lth_late',
    'lth_full',
  ),
  'unidlth': (
    'random',
    'random_erk',
    'random_cut',
    'dlth',
    'dlth_erk',
    'dlth_iter',
  ),
}


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

  def __str__(self) -> str:
    if self.seeds == 1:
      return f'{self.value:.2f} (1)'
    return f'{self.value:.2f} ± {self.deviation:.2f} ({self.seeds})'


def mean(values: Sequence[float]) -> Mean:
  """Returns the mean of at least one value."""
  deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return Mean(float(np.mean(values)), deviation, len(values))


def accuracies(rows: Iterable[Row]) -> dict[str, dict[float, dict[int, float]]]:
  """Returns test accuracies in percent, by method, sparsity and seed."""
  found: dict[str, dict[float, dict[int, float]]] = {}
  for row in rows:
    if row['chosen']:
      cell = found.setdefault(row['method'], {})
      by_seed = cell.setdefault(row['target_sparsity'], {})
      by_seed[row['seed']] = 100 * row['test_accuracy']
  return found


def accuracy_table(rows: Iterable[Row]) -> list[str]:
  """Returns mean, deviation and number of seeds, per method and sparsity."""
  found = accuracies(rows)
  sparsities = _sparsities(found)
  lines = _head('method', [_percent(s) for s in sparsities])
  for method, cells in found.items():
    if set(cells) == {0.0}:  # It does not depend on it.
      cells = dict.fromkeys(sparsities, cells[0.0])
    lines.append(_line(method, [_cell(cells.get(s)) for s in sparsities]))
  return lines


def beside(method: str) -> list[str]:
  """Returns what one of our methods is shown with: rivals, and ablations."""
  own = [name for name in ABLATIONS if name.startswith(f'{method}_')]
  return [*RIVALS[method], *own]


def difference_table(rows: Iterable[Row], method: str) -> list[str]:
  """Returns by how much a method is above its rivals and its ablations.

  The mean over the seeds that both have of the difference, its standard error,
  and how many seeds those are.
  """
  found = accuracies(rows)
  rivals = [rival for rival in beside(method) if rival in found]
  if method not in found or not rivals:
    return []
  sparsities = _sparsities({method: found[method]})
  lines = _head(f'{method} above', [_percent(s) for s in sparsities])
  for rival in rivals:
    cells = [
      _difference(found[method].get(s, {}), found[rival].get(s, {}))
      for s in sparsities
    ]
    lines.append(_line(rival, cells))
  return lines


def _difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
  both = sorted(ours.keys() & theirs.keys())
  if not both:
    return ''
  found = mean([ours[seed] - theirs[seed] for seed in both])
  if found.seeds == 1:
    return f'{found.value:+.2f} (1)'
  return f'{found.value:+.2f} ± {found.error:.2f} ({found.seeds})'


def cost_table(rows: Iterable[Row]) -> list[str]:
  """Returns what a run costs, beside its accuracy at the highest sparsity."""
  chosen = [row for row in rows if row['chosen']]
  names = 'epochs', 'steps', 'seconds', 'test accuracy, %'
  lines = _head('method', ['sparsity', *names])
  for method in dict.fromkeys(row['method'] for row in chosen):
    own = [row for row in chosen if row['method'] == method]
    highest = max(row['target_sparsity'] for row in own)
    own = [row for row in own if row['target_sparsity'] == highest]
    accuracy = mean([100 * row['test_accuracy'] for row in own])
    cells = [
      _percent(highest),
      str(own[0]['epochs']),
      f'{own[0]["steps"]:,}',
      f'{np.median([row["seconds"] for row in own]):.0f}',
      str(accuracy),
    ]
    lines.append(_line(method, cells))
  return lines


def search_table(rows: Iterable[Row]) -> list[str]:
  """Returns what the search found, per method and setting."""
  scores: dict[tuple[str, str], list[float]] = {}
  chosen = {}
  for row in (row for row in rows if row['searched']):
    key = row['method'], row['knobs']
    scores.setdefault(key, []).append(100 * row['validation_accuracy'])
    if row['chosen']:
      chosen[row['method']] = row['knobs']
  lines = _head('method', ['knobs', 'validation accuracy, %', ''])
  for (method, knobs), values in scores.items():
    mark = 'chosen' if chosen.get(method) == knobs else ''
    said = knobs.replace(' ', ', ') or 'its own'
    lines.append(_line(method, [said, str(mean(values)), mark]))
  return lines


def _sparsities(found: Mapping[str, Mapping[float, object]]) -> list[float]:
  """Returns all sparsities; 0 only where there is no other."""
  every = sorted({s for cells in found.values() for s in cells})
  return [s for s in every if s] or every


def _cell(by_seed: Mapping[int, float] | None) -> str:
  return str(mean(list(by_seed.values()))) if by_seed else ''


def _percent(share: float) -> str:
  return f'{100 * share:.6g}%'


def _head(first: str, columns: Sequence[str]) -> list[str]:
  return [_line(first, columns), '|---' * (1 + len(columns)) + '|']


def _line(first: str, cells: Sequence[str]) -> str:
  return f'| {first} | {" | ".join(cells)} |'
