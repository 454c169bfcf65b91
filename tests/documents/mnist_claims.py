"""What the documents say of MNIST, from the committed runs.

Each function returns parts of a document, with the numbers of the files.
"""

from typing import Any

from recipes.comparison import tables
from tests.documents.committed_runs import (
  accuracies,
  deviation,
  error,
  lead,
  leads,
  listed,
  rows,
  span,
)

MNIST = 'mnist/methods'
SMALL = 'cifar10/small_methods'
# What UniLTH is compared with on the small network.
EQUAL_COST = ('gmp', 'gmp_restart', 'lr_rewind', 'lth')


def _trainings(question: str, epochs: int) -> list[int]:
  """Returns how many whole trainings LTH had at its own cost."""
  found = {
    row['target_sparsity']: row['epochs'] / epochs
    for row in rows(question)
    if row['method'] == 'lth_full'
  }
  return [round(found[sparsity]) for sparsity in sorted(found)]


def _search(method: str, knobs: str) -> dict[str, float]:
  """Returns accuracies in percent of a run of MNIST's search."""
  (row,) = [
    row
    for row in rows(MNIST)
    if row['searched'] and row['method'] == method and row['knobs'] == knobs
  ]
  return {
    part: 100 * row[f'{part}_accuracy'] for part in ('validation', 'test')
  }


def unilth_on_mnist() -> list[str]:
  """README: UniLTH beside the other methods."""
  others = set(accuracies(MNIST)) - {'unilth', 'dense'}
  points = [
    lead(MNIST, 'unilth', other, s) for other in others for s in (0.98, 0.99)
  ]
  least = min(points, key=lambda found: found.value)
  rewind = lead(MNIST, 'unilth', 'lr_rewind', 0.95)
  return [
    '`unilth` is above every other sparse method at 98 and 99%, by '
    f'{error(least)} points or more',
    f'little above `lr_rewind` ({error(rewind)}).',
  ]


def unilth_elsewhere() -> list[str]:
  """README: UniLTH on CIFAR-10, and LTH at its own cost."""
  small = leads(SMALL, 'unilth', EQUAL_COST)
  found = accuracies('cifar10/resnet20_by_default')
  sparse = [
    found[method][0.95][0]
    for method in found
    if method not in ('dense', 'unilth')
  ]
  large = found['unilth'][0.95][0] - max(sparse)
  full, seed_0 = 'mnist/lth_at_full_cost', 'mnist/lth_at_full_cost_seed_0'
  above_ours = lead(full, 'lth_full', 'unilth', 0.98)
  assert above_ours.seeds == 3
  (times,) = _trainings(full, 15)
  costs = _trainings(seed_0, 15)
  above = [
    lead(seed_0, 'lth_full', 'unilth', s).value for s in (0.9, 0.95, 0.99)
  ]
  return [
    f'it leads at 90, 95 and 98%, by {min(small):.2f} points or more, on '
    f'ResNet-20 (CIFAR-10, 95%, one seed, no search) by {large:.1f}. LTH at '
    f'{times} times the cost, each round a whole training, is '
    f'{error(above_ours)} points above it (MNIST, '
    f'98%, three seeds); at 90, 95 and 99%, at {min(costs)} to {max(costs)} '
    f'times the cost, {span(above, 1)} (one seed).'
  ]


def random_tickets() -> list[str]:
  """README: UniDLTH beside the other random tickets."""
  most = max(
    leads(MNIST, 'unidlth', ('random', 'dlth'), (0.9, 0.95, 0.98, 0.99))
  )
  below = [-x for x in leads(SMALL, 'unidlth', ['random_erk'])]
  at = {s: error(lead(MNIST, 'unidlth', 'random_erk', s)) for s in (0.98, 0.99)}
  return [
    f'on MNIST by up to {most:.0f} points',
    f'(`random_erk`) at 90 and 95%, and above it by {at[0.98]} points at 98% '
    f'and {at[0.99]} at 99%; on the convolutional network it is below by '
    f'{span(below, 1)} points',
  ]


def _over_scratch() -> tables.Mean:
  """Returns UniDLTH's points above a ticket from scratch at 99.5%."""
  ours = accuracies('mnist/ramp_of_unidlth')['unidlth'][0.995]
  theirs = accuracies('mnist/random_erk')['random_erk'][0.995]
  assert ours.keys() == theirs.keys() and len(ours) == 5
  return tables.mean([ours[seed] - theirs[seed] for seed in ours])


def _ramp(sparsity: float, question: str = 'mnist/ramp_of_unidlth') -> Any:
  return lead(question, 'unidlth', 'unidlth_no_ramp', sparsity)


def ramp_in_the_readme() -> list[str]:
  """README: what the ramp is worth."""
  assert _ramp(0.99).seeds == _ramp(0.995).seeds == 5
  return [
    f'the ramp is worth {error(_ramp(0.99))} points at 99% and '
    f'{error(_ramp(0.995), 1)} at 99.5%, where UniDLTH is '
    f'{error(_over_scratch(), 1)} points above `random_erk` (MNIST, five seeds;'
  ]


def lth_at_its_own_cost() -> list[str]:
  """docs: trainings of LTH."""
  full = 'mnist/lth_at_full_cost'
  (times,) = _trainings(full, 15)
  (rounds,) = {r['rounds'] for r in rows(full) if r['method'] == 'lth_full'}
  *some, last = _trainings('mnist/lth_at_full_cost_seed_0', 15)
  below = lead(full, 'lth_full', 'lth', 0.98).value
  counts = f'{", ".join(map(str, some))} and {last} trainings'
  return [
    f'trains for all 15 epochs in each of its {rounds:.0f} rounds and before '
    f'the first, {times} times the cost of the others.',
    f'LTH at equal cost is {below:.2f} points below that.',
    f'LTH has {counts}',
    f'of {some[0]} to {last} trainings, has three seeds',
  ]


def ablations() -> list[str]:
  """docs: what each part is worth."""
  parts, ramp = 'mnist/ablations', 'mnist/ramp_by_default'

  def worth(method: str, part: str, digits: int = 2) -> str:
    return error(lead(parts, method, f'{method}_{part}', 0.98), digits)

  def over_all(method: str) -> str:
    found = accuracies(ramp)
    ours, theirs = found[method], found[f'{method}_no_ramp']
    pairs = [ours[s][seed] - theirs[s][seed] for s in ours for seed in ours[s]]
    return error(tables.mean(pairs))

  at = {
    s: lead(ramp, 'unilth', 'unilth_no_ramp', s).value for s in (0.98, 0.99)
  }
  layer = tables.mean([*accuracies(parts)['unilth_layer'][0.98].values()])
  restarted = tables.mean([*accuracies(MNIST)['gmp_restart'][0.98].values()])
  return [
    f'is worth {worth("unilth", "layer")} points to UniLTH, and ERK '
    f'{worth("unidlth", "layer", 1)} to UniDLTH.',
    f'over the four sparsities ({at[0.98]:+.2f} at 98%, {at[0.99]:+.2f} at '
    f'99%, {over_all("unilth")} over all)',
    f'as it is by default ({over_all("unidlth")}).',
    f'UniLTH loses {worth("unilth", "one_round")} points and UniDLTH '
    f'{worth("unidlth", "one_round")}.',
    f'nothing to UniLTH ({worth("unilth", "no_restart")} at 98%)',
    f'to UniDLTH {worth("unidlth", "no_restart")}.',
    f'(`unilth_layer`, {deviation(layer)} at 98%, three seeds) UniLTH is level '
    f'with `gmp_restart` ({deviation(restarted)})',
  ]


def ramp_in_the_docs() -> list[str]:
  """docs: what the ramp is worth to random tickets."""
  scratch = accuracies('mnist/random_erk')['random_erk'][0.995]
  mean = tables.mean([*scratch.values()])
  small = 'cifar10/small_ramp_of_unidlth'
  erk = [-lead(MNIST, 'dlth_erk', 'random_erk', s).value for s in (0.98, 0.99)]
  return [
    f'it is worth {error(_ramp(0.99))} points to UniDLTH at 99% and '
    f'{error(_ramp(0.995), 1)} at 99.5%, nothing at 98%. At 99.5% UniDLTH is '
    f'{error(_over_scratch(), 1)} points above the same ticket from scratch',
    f'({deviation(mean)}: {listed(scratch.values())};',
    f'worth {error(_ramp(0.98, small))} at 98% and {error(_ramp(0.99, small))} '
    'at 99% (three seeds;',
    f'is above `random_cut` by {span(_dlth_over_random_cut(), 0)} points in '
    'the test with the same settings.',
    f'below it by {erk[0]:.1f} at 98 and {erk[1]:.1f} points at 99%.',
  ]


def _dlth_over_random_cut() -> list[float]:
  """Returns points at 98%, seed 0, for the settings that both tried."""
  tried: dict[str, dict[str, float]] = {'dlth': {}, 'random_cut': {}}
  for row in rows(MNIST):
    if row['searched'] and row['method'] in tried:
      tried[row['method']][row['knobs']] = 100 * row['test_accuracy']
  ours, theirs = tried.values()
  return [ours[knobs] - theirs[knobs] for knobs in ours if knobs in theirs]


def searched() -> list[str]:
  """docs: settings of the search on MNIST, and restarts."""
  late = {s: lead(MNIST, 'lth', 'lth_late', s) for s in (0.98, 0.99)}
  restart = [
    lead(MNIST, 'gmp_restart', 'gmp', s).value for s in (0.9, 0.95, 0.98, 0.99)
  ]
  short = 'rounds=4 finetune_fraction=0.95 max_dense_fraction=0.07'
  erk, erk_short, erk_warm = (
    _search('unidlth', knobs)['validation']
    for knobs in ('', short, f'{short} learning_rate=3.0 warmup_epochs=0.07')
  )
  own, less, most, tenth = (
    _search('unilth', knobs)['validation']
    for knobs in (
      '',
      'finetune_fraction=0.4',
      'finetune_fraction=0.75 max_dense_fraction=0.1',
      'max_dense_fraction=0.1',
    )
  )
  return [
    f'where it was ({erk_short:.2f} against {erk:.2f}, seed 0); with three '
    f'times the learning rate and a warm-up it is {erk_warm:.2f}.',
    f'by {error(late[0.98])} (98%) to {error(late[0.99])} points (99%).',
    f'is worth {span(restart, 2)} points to gradual pruning',
    f'{own:.2f}, against {less:.2f} (0.4) and {most:.2f} (0.75 after a shorter '
    'stage 1)',
    f'({tenth:.2f} against {own:.2f})',
  ]


def guide() -> list[str]:
  """docs/results.md: which method is ahead, in words."""
  others = set(accuracies(MNIST)) - {'unilth', 'dense'}
  at = {s: min(leads(MNIST, 'unilth', others, [s])) for s in (0.95, 0.98, 0.99)}
  assert at[0.98] > 0 and at[0.99] > 0 and at[0.95] > -0.1
  (dense,) = accuracies(MNIST)['dense'].values()  # Of no sparsity.
  sparse = accuracies(MNIST)['unilth'][0.9]
  assert abs(tables.mean([sparse[s] - dense[s] for s in sparse]).value) < 0.1
  assert min(leads(SMALL, 'unilth', EQUAL_COST)) > 0
  assert min(leads(MNIST, 'unilth', ('random', 'unidlth'))) > 0
  assert _ramp(0.99).value > 0 and _ramp(0.995).value > 0
  assert lead('mnist/lth_at_full_cost', 'lth_full', 'unilth', 0.98).value > 0
  return [
    '`UniLTH` is above every other sparse method at 98 and 99%, level with the '
    'best at 95%, and keeps the accuracy of the dense network at 90%.',
    '`UniLTH` leads at each sparsity.',
    'Random tickets are worse than found ones.',
    'the L2 ramp of `UniDLTH` helps them.',
    'is as good as `UniLTH` or better.',
  ]


README = (
  unilth_on_mnist,
  unilth_elsewhere,
  random_tickets,
  ramp_in_the_readme,
)
DOCS = (lth_at_its_own_cost, ablations, ramp_in_the_docs, searched)
GUIDE = (guide,)
