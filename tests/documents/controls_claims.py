"""What the documents say of the controls, from committed runs."""

import itertools
from typing import Any

import tf_unilth
from recipes.comparison import intervals, tables
from tests.documents.committed_runs import (
  above,
  accuracies,
  lead,
  listed,
  not_told_apart,
  paired,
  rows,
  verdicts,
)
from tf_unilth.run import budget

_CONTROLS = 'mnist/controls'
_SMALL_CONTROLS = 'cifar10/small_controls'
_SMALL_PARTS = 'cifar10/small_parts'
_EVERY = 0.9, 0.95, 0.98, 0.99
_RESTART = 'gmp_global_restart'
_SAME = 'not told apart'


def _lead(ours: str, theirs: str, sparsity: float) -> tables.Mean:
  found = lead(_CONTROLS, ours, theirs, sparsity)
  assert found.seeds == 5
  return found


def _verdicts(ours: str, theirs: str) -> list[str]:
  return verdicts(_CONTROLS, ours, theirs, *_EVERY)


def _small(
  ours: str, theirs: str, question: str = _SMALL_CONTROLS
) -> list[tables.Mean]:
  """Returns the points at each sparsity on the small network."""
  found = [lead(question, ours, theirs, s) for s in _EVERY]
  assert {points.seeds for points in found} == {3}
  return found


def _longer_stage() -> list[tables.Mean]:
  """Returns what the setting of the search is worth to UniLTH there."""
  searched = accuracies(_SMALL_CONTROLS)['unilth']
  default = accuracies(_SMALL_PARTS)['unilth']
  return [paired(searched[s], default[s]) for s in _EVERY]


def _rounds(question: str, method: str, sparsity: float) -> float:
  (found,) = {
    row['rounds']
    for row in rows(question)
    if (row['method'], row['target_sparsity']) == (method, sparsity)
    and row['chosen']
    and row['seed'] >= 10
  }
  return found


def _seeds_of_the_table(question: str) -> str:
  """Returns what a document says of the seeds that are compared."""
  seeds = {round(row['seed']) for row in rows(question) if not row['searched']}
  return (
    f'the seeds of the table, {min(seeds)} to {max(seeds)}, were not used for '
    'it'
  )


def check() -> None:
  """Checks what the documents say without a number."""
  assert _verdicts('unilth', _RESTART) == [_SAME, _SAME, 'below', 'below']
  assert {*_verdicts('unilth', 'gmp_global')} == {_SAME}
  assert {*_verdicts('unilth', 'lr_rewind')} == {'above'}
  assert _verdicts('unidlth', 'random_erk') == [_SAME, _SAME, _SAME, 'above']
  assert {*_verdicts('rigl', 'unidlth')} == {'above'}


def gradual_pruning() -> list[str]:
  """docs: UniLTH beside gradual pruning with its ranking and restart."""
  check()
  high, highest = (above(_lead(_RESTART, 'unilth', s)) for s in _EVERY[2:])
  small = _small('unilth', _RESTART)
  assert [found.verdict for found in small] == [_SAME, 'above', _SAME, _SAME]
  assert small[1].value < 1  # docs/results.md says less than a point.
  return [
    f'above it once (convolutional network, 95%: {above(small[1])}), below it '
    f'twice (LeNet, 98 and 99%: {high} and {highest}), and not told apart from '
    'it five times.',
  ]


def spread_of_the_rounds() -> list[str]:
  """docs: what more rounds and a longer stage of them gain."""
  rounds, early, early_no_ramp = (
    _lead(name, 'unilth', 0.99)
    for name in ('unilth_many_rounds', 'unilth_early', 'unilth_early_no_ramp')
  )
  for name in ('unilth_early', 'unilth_early_no_ramp'):
    not_told_apart(_lead(name, 'unilth_many_rounds', 0.99))
  left = _lead(_RESTART, 'unilth_early_no_ramp', 0.99)
  return [
    f'On LeNet at 99%, twice as many (`unilth_many_rounds`) gain '
    f'{above(rounds)};',
    f'a longer stage of rounds gains {above(_longer_stage()[1])} at 95%.',
    f'`unilth_many_rounds` is {above(rounds)} above `unilth`, `unilth_early` '
    f'{above(early)} and `unilth_early_no_ramp` {above(early_no_ramp)}, and '
    'that one is not told apart from `gmp_global_restart` '
    f'({not_told_apart(left)} behind).',
  ]


def ramp() -> list[str]:
  """docs: what the ramp is worth to UniLTH."""
  found = [
    [not_told_apart(points) for points in each]
    for each in (
      [_lead('unilth', 'unilth_no_ramp', s) for s in _EVERY],
      _small('unilth', 'unilth_no_ramp', _SMALL_PARTS),
    )
  ]
  lenet, small = (f'{", ".join(each[:3])} and {each[3]}' for each in found)
  return [f'is on LeNet {lenet}, on the convolutional network {small}.']


def others() -> list[str]:
  """docs: UniLTH beside the other controls."""
  rewind = [_lead('unilth', 'lr_rewind', s) for s in _EVERY]
  cyclic = [above(_lead('unilth', 'cyclic', s)) for s in _EVERY[2:]]
  assert _verdicts('unilth', 'cyclic')[:2] == [_SAME, _SAME]
  assert _verdicts('unilth', 'hypersparse') == [_SAME, _SAME, _SAME, 'below']
  closest = above(_lead('hypersparse', 'unilth', 0.99))
  (seed,) = {row['seed'] for row in _rewound(_CONTROLS)}
  return [
    _seeds_of_the_table(_CONTROLS),
    f'`unilth` is above `lr_rewind` at each sparsity, by {above(rewind[1])} to '
    f'{above(rewind[3])}, and above `cyclic` by {cyclic[0]} at 98% and '
    f'{cyclic[1]} at 99%; `hypersparse` is above it at 99%, by {closest}.',
    f'is above it on LeNet at 99% by {closest}, and not told apart',
    f'With one seed, {seed:.0f}, it met a plateau',
  ]


def _rewound(question: str) -> list[dict[str, Any]]:
  """Returns the compared runs of UniLTH that met a plateau."""
  return [
    row
    for row in rows(question)
    if row['method'] == 'unilth' and row['seed'] >= 10 and row['plateau_epoch']
  ]


def loss() -> list[str]:
  """docs: what UniLTH loses against the dense network."""
  found = []
  for question in (_CONTROLS, _SMALL_CONTROLS):
    points = accuracies(question)
    dense = points['dense'][0.0]
    behind = [paired(dense, points['unilth'][s]).value for s in _EVERY]
    found.append(f'{listed(behind[:3])} and {behind[3]:.2f}')
  return [
    f'UniLTH loses {found[0]} points on LeNet, and {found[1]} on the '
    'convolutional network,'
  ]


def random_tickets() -> list[str]:
  """docs: UniDLTH beside a ticket from scratch and RigL."""
  scratch = above(_lead('unidlth', 'random_erk', 0.99))
  low, high = (above(_lead('rigl', 'unidlth', s)) for s in (0.9, 0.99))
  small = _small('random_erk', 'unidlth')
  assert [found.verdict for found in small] == [_SAME, _SAME, 'above', _SAME]
  rigl = _small('rigl', 'unidlth')
  assert [rigl[i].verdict for i in (0, 2)] == [_SAME, _SAME]
  moved = _small('rigl', 'random_erk')
  same = [not_told_apart(points) for points in moved[:3]]
  return [
    f'on LeNet at 99% alone**, by {scratch};',
    f'it is below at 98% by {above(small[2])}, and not told apart at 90, 95 '
    'and 99%.',
    f'by {low} at 90% to {high} at 99%, and on the convolutional network at 95 '
    f'and 99%, by {above(rigl[1])} and {above(rigl[3])};',
    f'({same[0]}, {same[1]} and {same[2]}), and above it at 99% by '
    f'{above(moved[3])}.',
  ]


def corrected() -> list[str]:
  """docs: which differences are left when eight are tested together."""
  lenet, small = _CONTROLS, _SMALL_CONTROLS
  assert _left_by_holm('unilth', _RESTART) == {(lenet, 0.99)}
  assert _left_by_holm('unidlth', 'random_erk') == {(lenet, 0.99)}
  everywhere = {(lenet, s) for s in _EVERY}
  assert _left_by_holm('rigl', 'unidlth') == {*everywhere, (small, 0.99)}
  return [
    'leaves of the first line LeNet at 99% (UniLTH below), of the fourth LeNet '
    'at 99% (UniDLTH above), and of the last all of LeNet and 99% on the '
    'convolutional network.'
  ]


def _left_by_holm(ours: str, theirs: str) -> set[tuple[str, float]]:
  """Returns the differences that Holm's correction leaves, by their place."""
  places = itertools.product((_CONTROLS, _SMALL_CONTROLS), _EVERY)
  chances = sorted(
    (_chance(lead(question, ours, theirs, s)), question, s)
    for question, s in places
  )
  left = set()
  for tested, (chance, question, s) in enumerate(chances):
    if chance > 0.05 / (len(chances) - tested):
      break
    left.add((question, s))
  return left


def _chance(points: tables.Mean) -> float:
  """Returns the chance of such a difference if there is none."""
  t = abs(points.value) / points.error
  return 1 - intervals.within(t, points.seeds - 1)


def rounds() -> list[str]:
  """docs/methods.md: what more rounds gain at 99%."""
  gain = _lead('unilth_many_rounds', 'unilth', 0.99)
  gap = _lead(_RESTART, 'unilth', 0.99)
  assert gain.verdict == 'above' and 0.4 < gain.value / gap.value < 0.6
  best = max(
    (_lead(name, 'unilth', 0.99).value, name)
    for name in (_RESTART, 'gmp_global', 'lr_rewind', 'cyclic', 'hypersparse')
  )
  assert best[1] == _RESTART
  return ['made up for half of what `UniLTH` was behind the best method']


def _rounds(question: str, method: str) -> list[str]:
  """Returns how many rounds the runs had, at each sparsity."""
  found = {
    (row['target_sparsity'], row['rounds'])
    for row in rows(question)
    if row['method'] == method and row['chosen'] and row['seed'] >= 10
  }
  assert len(found) == len(_EVERY)  # The same with each seed.
  return [f'{number:.0f}' for _, number in sorted(found)]


def small_network() -> list[str]:
  """docs: the controls on the small network."""
  rewind, cyclic = _small('unilth', 'lr_rewind'), _small('unilth', 'cyclic')
  assert {found.verdict for found in (*rewind, *cyclic)} == {'above'}
  assert {m.verdict for m in _small('unilth', 'hypersparse')} == {_SAME}
  assert not _rewound(_SMALL_CONTROLS) and not _rewound(_SMALL_PARTS)
  default = _rounds(_SMALL_PARTS, 'unilth')
  assert _rounds(_SMALL_PARTS, 'unilth_many_rounds')[1:] == default[1:]
  longer = _rounds(_SMALL_CONTROLS, 'unilth')
  (knobs,) = {
    row['knobs']
    for row in rows(_SMALL_CONTROLS)
    if row['method'] == 'unilth' and row['chosen']
  }
  longest = knobs.removeprefix('finetune_fraction=')
  gain = _longer_stage()
  low, middle, high = map(above, gain[1:])
  least = (above(min(of, key=lambda m: m.value)) for of in (rewind, cyclic))
  before, found = (
    accuracies(_SMALL_PARTS)['unilth'],
    accuracies(_SMALL_CONTROLS),
  )
  restart = [paired(before[s], found[_RESTART][s]) for s in _EVERY]
  same = [not_told_apart(restart[i]) for i in (0, 2, 3)]
  return [
    _seeds_of_the_table(_SMALL_CONTROLS),
    'above `lr_rewind` and `cyclic` at each sparsity, by '
    f'{" and ".join(least)} points or more.',
    f'where the default is {tf_unilth.UniLTH().finetune_fraction:g});',
    f'worth {low}, {middle} and {high} points at 95, 98 and 99% '
    f'({not_told_apart(gain[0])} at 90%).',
    f'above that at 95% by {above(restart[1])}, and not told apart at 90, 98 '
    f'and 99% ({same[0]}, {same[1]} and {same[2]}).',
    f'A round has at least {budget.MIN_ROUND_STEPS} steps, so that by default '
    f'{", ".join(default[:3])} and {default[3]} rounds fit, with the longer '
    f'stage {", ".join(longer[:3])} and {longer[3]}.',
    'is the same as the default from 95% on.',
    f'(`--{knobs}`,',
    f'on the small convolutional network {longest} is',
  ]


DOCS = (
  gradual_pruning,
  spread_of_the_rounds,
  ramp,
  others,
  loss,
  random_tickets,
  corrected,
  small_network,
)
METHODS = (rounds,)
