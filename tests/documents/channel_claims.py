"""What docs/channels_accuracy.md says, from the committed runs.

Each function returns parts of the document, with the numbers of the files.
"""

import numpy as np

from recipes.comparison import tables
from recipes.costs import accuracy_latency_report
from tests.documents.committed_runs import (
  above,
  accuracies,
  interval,
  lead,
  load,
  not_told_apart,
  paired,
  rows,
)

MNIST = 'mnist/channels'
_RAMP = 'mnist/channels_ramp'
_AT_90 = 'mnist/channels_ramp_at_90'
_ERK = 'mnist/channels_erk'
_EVERY = 0.5, 0.75, 0.9
_SAME = 'not told apart'


def _leads(ours: str, theirs: str, question: str = MNIST) -> list[tables.Mean]:
  """Returns the points at each share of the FLOPs, over five seeds."""
  found = [lead(question, ours, theirs, s) for s in _EVERY]
  assert {points.seeds for points in found} == {5}
  return found


def _verdicts(ours: str, theirs: str, question: str = MNIST) -> list[str]:
  return [points.verdict for points in _leads(ours, theirs, question)]


def _listed(found: list[tables.Mean]) -> str:
  first, second, third = map(interval, found)
  return f'{first}, {second} and {third}'


def ramp() -> list[str]:
  """docs: UniLTH beside itself with another ramp or none."""
  without = _leads('unilth', 'unilth_no_ramp', _RAMP)
  assert {points.verdict for points in without} == {_SAME}
  for name in (
    *('unilth_limit_0.3', 'unilth_limit_3', 'unilth_power_0'),
    *('unilth_one_round', 'unilth_layer'),
  ):
    assert {*_verdicts('unilth', name, _RAMP)} == {_SAME}, name
  return [f'what it adds at 50, 75 and 90% is {_listed(without)};']


def ramp_of_the_search() -> list[str]:
  """docs: UniLTH beside itself without ramp, each with its setting."""
  without = _leads('unilth', 'unilth_no_ramp')
  neither = _verdicts('unilth', 'unilth_no_ramp_no_plateau')
  assert [points.verdict for points in without[:2]] == [_SAME, _SAME]
  assert {*neither} == {_SAME}
  return [f'`unilth` is {above(without[2])} above `unilth_no_ramp` at 90%,']


def small_network() -> list[str]:
  """docs: UniLTH and UniDLTH beside the small dense network."""
  ours, random = (_leads(name, 'small_dense') for name in ('unilth', 'unidlth'))
  assert [points.verdict for points in random] == [_SAME, _SAME, 'above']
  return [
    f'UniLTH is above it by {above(ours[0])} and {above(ours[1])} at 50 and '
    f'75%, and not told apart at 90% ({not_told_apart(ours[2])}).'
  ]


def other_methods() -> list[str]:
  """docs: UniLTH beside the other ways to prune units."""
  gradual = _leads('unilth', 'gmp_global')
  assert {points.verdict for points in gradual} == {'above'}
  assert {*_verdicts('unilth', 'oneshot_global')} == {_SAME}
  rewind = _leads('unilth', 'lr_rewind')
  assert [points.verdict for points in rewind[1:]] == [_SAME, _SAME]
  return [
    f'UniLTH is above `gmp_global` by {_listed(gradual)}, above `lr_rewind` at '
    f'50% alone ({above(rewind[0])}), and not told apart from `oneshot_global` '
    'at any share.'
  ]


def random_units() -> list[str]:
  """docs: UniDLTH beside random units that are removed at once."""
  chosen, alike = (
    _leads('unidlth', 'random', question) for question in (MNIST, _ERK)
  )
  assert {points.verdict for points in chosen} == {'above'}
  return [
    'Extruding random units pays at 50 and 75%**',
    f'UniDLTH is above `random` by {_listed(chosen)}.',
    f'above it by {above(alike[0])} and {above(alike[1])} at 50 and 75%, and '
    f'not told apart at 90% ({not_told_apart(alike[2])}).',
  ]


def dense() -> list[str]:
  """docs: what UniLTH loses against the dense network."""
  found = accuracies(MNIST)
  (by_seed,) = found['dense'].values()
  behind = [paired(by_seed, found['unilth'][s]).value for s in _EVERY]
  first, second, third = (f'{points:.2f}' for points in behind)
  return [f'UniLTH loses {first}, {second} and {third} points']


def flops() -> list[str]:
  """docs: that the networks that are compared are equally large."""
  runs = [
    row
    for row in rows(MNIST)
    if row['target_sparsity'] == 0.9 and row['chosen']
  ]
  (small,) = {r['flops'] for r in runs if r['method'] == 'small_dense'}
  others = [r['flops'] for r in runs if r['method'] != 'small_dense']
  return [
    f'{small:,.0f} FLOPs are left to `small_dense` with 90% removed, and '
    f'{min(others):,.0f} to {max(others):,.0f} to the pruned networks'
  ]


def plateaus() -> list[str]:
  """docs: how many runs of UniLTH met a plateau."""
  runs = [
    row
    for row in rows(MNIST)
    if row['method'] == 'unilth' and row['seed'] >= 10
  ]
  met = sum(row['plateau_epoch'] != '' for row in runs)
  return [f'{met} of {len(runs)} runs of `unilth` met a plateau']


def ramp_at_90() -> list[str]:
  """docs: the ramp at 90%, over seeds that were run for that question."""
  points = lead(_AT_90, 'unilth', 'unilth_no_ramp', 0.9)
  seeds = sorted({round(row['seed']) for row in rows(_AT_90)})
  return [
    f'seeds {seeds[0]} to {seeds[-1]}: {interval(points)} points, '
    f'{points.verdict}'
  ]


def latency() -> list[str]:
  """docs: the table of accuracy against latency."""
  files = load('cost/mnist/accuracy_latency/accuracy_latency.json')['files']
  by_name = {p.name: p for p in accuracy_latency_report.points(files)}
  int8 = by_name['dense, int8']
  units = by_name['unilth, channels, 75% of the FLOPs']
  (one, ours), (many, ours_of_many) = (
    (np.mean(int8.times[setting]), np.mean(units.times[setting]))
    for setting in int8.times
  )
  assert abs(one - ours) < 0.05 and many > 1.5 * ours_of_many
  assert int8.accuracy.value > units.accuracy.value
  for percent, least, most in ((90, 0.9, 1.1), (98, 0.0, 0.7)):
    zeros = by_name[f'unilth, single weights, {percent}% of the weights']
    assert all(least < np.mean(t) < most for t in zeros.times.values())
  return accuracy_latency_report.table(files).splitlines()


ACCURACY = (
  ramp,
  ramp_at_90,
  ramp_of_the_search,
  small_network,
  other_methods,
  random_units,
  dense,
  flops,
  plateaus,
  latency,
)
