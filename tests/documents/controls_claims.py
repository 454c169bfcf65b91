"""What the documents say of the controls on MNIST, from committed runs."""

from recipes.comparison import tables
from tests.documents.committed_runs import (
  above,
  lead,
  not_told_apart,
  rows,
  verdicts,
)

_CONTROLS = 'mnist/controls'
_SMALL = 'cifar10/small_methods'
_SMALL_CONTROLS = 'cifar10/small_controls'
_EVERY = 0.9, 0.95, 0.98, 0.99
_RESTART = 'gmp_global_restart'
_SAME = 'not told apart'


def _lead(ours: str, theirs: str, sparsity: float) -> tables.Mean:
  found = lead(_CONTROLS, ours, theirs, sparsity)
  assert found.seeds == 5
  return found


def _verdicts(ours: str, theirs: str) -> list[str]:
  return verdicts(_CONTROLS, ours, theirs, *_EVERY)


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
  return [
    f'at 90 and 95% the two are not told apart ({low} and {middle}), at 98 and '
    f'99% UniLTH is below it by {high} and {highest}.'
  ]


def where_the_gap_comes_from() -> list[str]:
  """docs: what closes the gap to gradual pruning at 99%."""
  rounds, early, early_no_ramp = (
    _lead(name, 'unilth', 0.99)
    for name in ('unilth_many_rounds', 'unilth_early', 'unilth_early_no_ramp')
  )
  left = _lead(_RESTART, 'unilth_early_no_ramp', 0.99)
  return [
    'At 99%, twice as many rounds (`unilth_many_rounds`) gain '
    f'{above(rounds)}, with an early start (`unilth_early`) {above(early)}, '
    'and without the ramp (`unilth_early_no_ramp`) '
    f'{above(early_no_ramp)}; that one is not told apart from '
    f'`gmp_global_restart` ({not_told_apart(left)} behind).'
  ]


def ramp() -> list[str]:
  """docs: what the ramp is worth to UniLTH."""
  found = [not_told_apart(_lead('unilth', 'unilth_no_ramp', s)) for s in _EVERY]
  return [f'at 90, 95, 98 and 99% ({", ".join(found[:3])} and {found[3]}),']


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
  small = above(lead(_SMALL, 'random_erk', 'unidlth', 0.95))
  return [
    f'at 99% alone**, by {scratch};',
    f'on the small convolutional network it is below by {small} points at 95%.',
    f'by {low} at 90% to {high} at 99%.',
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
  """docs: the controls on the small network, as far as they have been run."""
  restart, default, many = (
    lead(_SMALL_CONTROLS, 'unilth', name, 0.95)
    for name in (_RESTART, 'unilth_no_ramp', 'unilth_many_rounds')
  )
  assert {found.seeds for found in (restart, default, many)} == {3}
  return [
    _seeds_of_the_table(_SMALL_CONTROLS),
    f'UniLTH is above `gmp_global_restart` by {above(restart)} points, above '
    f'`unilth_no_ramp` by {above(default)} and above `unilth_many_rounds` by '
    f'{above(many)},',
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
