"""What the documents say of the controls on MNIST, from committed runs."""

import tf_unilth
from recipes.comparison import tables
from tests.documents.committed_runs import (
  above,
  accuracies,
  lead,
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
  return f'the seeds of the table, {min(seeds)} to {max(seeds)}, chose nothing'


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
  low, middle = (
    not_told_apart(_lead('unilth', _RESTART, s)) for s in _EVERY[:2]
  )
  high, highest = (above(_lead(_RESTART, 'unilth', s)) for s in _EVERY[2:])
  small = _small('unilth', _RESTART)
  assert small[1].value < 1  # docs/results.md says less than a point.
  rest = [not_told_apart(small[i]) for i in (0, 2, 3)]
  return [
    f'the two are not told apart at 90 and 95% ({low} and {middle}), and '
    f'UniLTH is below it at 98 and 99% by {high} and {highest};',
    f'it is above at 95% by {above(small[1])}, and not told apart at 90, 98 '
    f'and 99% ({rest[0]}, {rest[1]} and {rest[2]}).',
  ]


def where_the_gap_comes_from() -> list[str]:
  """docs: what closes the gap to gradual pruning."""
  rounds, early, early_no_ramp = (
    _lead(name, 'unilth', 0.99)
    for name in ('unilth_many_rounds', 'unilth_early', 'unilth_early_no_ramp')
  )
  left = _lead(_RESTART, 'unilth_early_no_ramp', 0.99)
  default = paired(
    accuracies(_SMALL_PARTS)['unilth'][0.95],
    accuracies(_SMALL_CONTROLS)[_RESTART][0.95],
  )
  return [
    'On LeNet at 99%, twice as many (`unilth_many_rounds`) gain '
    f'{above(rounds)}, with an early start (`unilth_early`) {above(early)}, '
    'and without the ramp (`unilth_early_no_ramp`) '
    f'{above(early_no_ramp)}; that one is not told apart from '
    f'`gmp_global_restart` ({not_told_apart(left)} behind).',
    f'a longer stage of rounds gains {above(_longer_stage()[1])} at 95%, and '
    f'without it UniLTH is above by {above(default)}.',
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
  lenet, small = (f'({", ".join(each[:3])} and {each[3]})' for each in found)
  return [f'on LeNet {lenet}, on the convolutional network {small},']


def others() -> list[str]:
  """docs: UniLTH beside the other controls."""
  rewind = [_lead('unilth', 'lr_rewind', s) for s in _EVERY]
  cyclic = [above(_lead('unilth', 'cyclic', s)) for s in _EVERY[2:]]
  assert _verdicts('unilth', 'cyclic')[:2] == [_SAME, _SAME]
  assert _verdicts('unilth', 'hypersparse') == [_SAME, _SAME, _SAME, 'below']
  closest = above(_lead('hypersparse', 'unilth', 0.99))
  runs = [row for row in rows(_CONTROLS) if row['method'] == 'unilth']
  runs = [row for row in runs if not row['searched']]
  rewound = sum(row['rewound_to_epoch'] != '' for row in runs)
  return [
    _seeds_of_the_table(_CONTROLS),
    f'`unilth` is above `lr_rewind` at each sparsity, by {above(rewind[1])} to '
    f'{above(rewind[3])}, and above `cyclic` by {cyclic[0]} at 98% and '
    f'{cyclic[1]} at 99%; `hypersparse` is above it at 99%, by {closest}.',
    f'{rewound} of its {len(runs)} runs met a plateau and were rewound.',
  ]


def random_tickets() -> list[str]:
  """docs: UniDLTH beside a ticket from scratch and RigL."""
  scratch = above(_lead('unidlth', 'random_erk', 0.99))
  low, high = (above(_lead('rigl', 'unidlth', s)) for s in (0.9, 0.99))
  small = _small('random_erk', 'unidlth')
  assert [found.verdict for found in small] == [_SAME, _SAME, 'above', _SAME]
  rigl = _small('rigl', 'unidlth')
  assert [rigl[i].verdict for i in (0, 2)] == [_SAME, _SAME]
  return [
    f'on LeNet at 99% alone**, by {scratch};',
    f'it is below at 98% by {above(small[2])}, and not told apart at 90, 95 '
    'and 99%.',
    f'by {low} at 90% to {high} at 99%, and on the convolutional network at 95 '
    f'and 99%, by {above(rigl[1])} and {above(rigl[3])};',
  ]


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


def small_network() -> list[str]:
  """docs: the controls on the small network."""
  restart = [found.verdict for found in _small('unilth', _RESTART)]
  assert restart == [_SAME, 'above', _SAME, _SAME]
  rewind, cyclic = _small('unilth', 'lr_rewind'), _small('unilth', 'cyclic')
  assert {found.verdict for found in (*rewind, *cyclic)} == {'above'}
  closest = _small('unilth', 'hypersparse')
  ramp = _small('unilth', 'unilth_no_ramp', _SMALL_PARTS)
  assert {found.verdict for found in (*closest, *ramp)} == {_SAME}
  many = [
    [_rounds(_SMALL_PARTS, name, s) for s in _EVERY[1:]]
    for name in ('unilth', 'unilth_many_rounds')
  ]
  assert many[0] == many[1]
  default = _rounds(_SMALL_PARTS, 'unilth', 0.98)
  longer = _rounds(_SMALL_CONTROLS, 'unilth', 0.98)
  gain = _longer_stage()
  low, middle, high = map(above, gain[1:])
  least = (above(min(of, key=lambda m: m.value)) for of in (rewind, cyclic))
  return [
    _seeds_of_the_table(_SMALL_CONTROLS),
    'above `lr_rewind` and `cyclic` at each sparsity, by '
    f'{" and ".join(least)} points or more.',
    f'worth {low}, {middle} and {high} points at 95, 98 and 99% '
    f'({not_told_apart(gain[0])} at 90%).',
    f'A round has at least {budget.MIN_ROUND_STEPS} steps, so that '
    f'{default:.0f} rounds fit by default and {longer:.0f} with the longer '
    'stage; `unilth_many_rounds` has no more of them above 90%.',
    f'where the default is {tf_unilth.UniLTH().finetune_fraction:g});',
  ]


DOCS = (
  gradual_pruning,
  where_the_gap_comes_from,
  ramp,
  others,
  random_tickets,
  small_network,
)
METHODS = (rounds,)
