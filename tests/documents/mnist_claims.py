"""What the documents say of MNIST, from the committed runs.

Each function returns parts of a document, with the numbers of the files.
"""

from typing import Any

from recipes.comparison import tables
from tests.documents import controls_claims
from tests.documents.committed_runs import (
  above,
  accuracies,
  deviation,
  interval,
  lead,
  leads,
  listed,
  not_told_apart,
  rows,
  span,
  verdicts,
)

MNIST = 'mnist/methods'
SMALL = 'cifar10/small_methods'
_BACKENDS = {
  'TensorFlow': 'tensorflow',
  'JAX': 'jax',
  'torch': 'torch',
  'tf_keras': 'tf_keras',
}


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
  """docs: UniLTH beside the other methods."""
  others = set(accuracies(MNIST)) - {'unilth', 'dense'}
  points = [
    lead(MNIST, 'unilth', other, s) for other in others for s in (0.98, 0.99)
  ]
  assert {found.verdict for found in points} == {'above'}
  least = min(points, key=lambda found: found.value)
  restart, rewind = (
    not_told_apart(lead(MNIST, 'unilth', other, 0.95))
    for other in ('gmp_restart', 'lr_rewind')
  )
  found = accuracies(MNIST)
  ours, (dense,) = found['unilth'][0.9], found['dense'].values()
  kept = tables.mean([ours[seed] - dense[seed] for seed in ours])
  return [
    '`unilth` is above every other sparse method of this table at 98 and 99%, '
    f'by {above(least)} points or more',
    f'from the dense network at 90% ({not_told_apart(kept)}), and at 95% from '
    f'`gmp_restart` ({restart}) and `lr_rewind` ({rewind}).',
    f'from `gmp_restart` at 98% ({not_told_apart(_each_layer_apart())}, three '
    'seeds)',
  ]


def _each_layer_apart() -> tables.Mean:
  """Returns the points of UniLTH, each layer apart, above `gmp_restart`."""
  ours = accuracies('mnist/ablations')['unilth_layer'][0.98]
  theirs = accuracies(MNIST)['gmp_restart'][0.98]
  return tables.mean([ours[seed] - theirs[seed] for seed in ours])


def unilth_elsewhere() -> list[str]:
  """docs: UniLTH on CIFAR-10, and LTH at its own cost."""
  at = 0.9, 0.95, 0.98
  for other in ('gmp', 'lr_rewind', 'lth'):
    assert {*verdicts(SMALL, 'unilth', other, *at)} == {'above'}
  restart = verdicts(SMALL, 'unilth', 'gmp_restart', *at)
  assert restart == ['not told apart', 'above', 'not told apart']
  small = leads(SMALL, 'unilth', ('gmp', 'lr_rewind', 'lth'))
  found = accuracies('cifar10/resnet20_by_default')
  sparse = [
    found[method][0.95][0]
    for method in found
    if method not in ('dense', 'unilth')
  ]
  large = found['unilth'][0.95][0] - max(sparse)
  assert found['lr_rewind'][0.95][0] == max(sparse)
  full, seed_0 = 'mnist/lth_at_full_cost', 'mnist/lth_at_full_cost_seed_0'
  above_ours = lead(full, 'lth_full', 'unilth', 0.98)
  assert above_ours.seeds == 3
  (times,) = _trainings(full, 15)
  costs = _trainings(seed_0, 15)
  ahead = [
    lead(seed_0, 'lth_full', 'unilth', s).value for s in (0.9, 0.95, 0.99)
  ]
  return [
    'it is above `gmp`, `lr_rewind` and `lth` at 90, 95 and 98%, by '
    f'{min(small):.2f} points or more, and above `gmp_restart` at 95%;',
    f'it is {large:.1f} above the next best, `lr_rewind`. LTH at {times} times '
    'the cost, each round a whole training, is not told apart from UniLTH '
    f'({not_told_apart(above_ours)} points, MNIST, 98%, three seeds); at 90, '
    f'95 and 99%, at {min(costs)} to {max(costs)} times the cost, LTH is ahead '
    f'by {span(ahead, 1)} (one seed).',
  ]


def random_tickets() -> list[str]:
  """docs: UniDLTH beside the other random tickets."""
  of_layers = ('random', 'dlth')
  every = 0.9, 0.95, 0.98, 0.99
  for other in of_layers:
    assert {*verdicts(MNIST, 'unidlth', other, *every)} == {'above'}
    assert {*verdicts(SMALL, 'unidlth', other, *every[:3])} == {'above'}
  most = max(leads(MNIST, 'unidlth', of_layers, every))
  erk = {s: lead(MNIST, 'unidlth', 'random_erk', s) for s in every}
  assert {erk[s].verdict for s in every[:3]} == {'not told apart'}
  small = {s: lead(SMALL, 'random_erk', 'unidlth', s) for s in every[:3]}
  return [
    f'on MNIST by up to {most:.0f} points',
    '(`random_erk`) at 90, 95 and 98% '
    f'({not_told_apart(erk[0.98])} points at 98%), and above it by '
    f'{above(erk[0.99])} at 99%; on the convolutional network it is below by '
    f'{above(small[0.95])} points at 95%, and not told apart at 90 and 98% '
    f'({not_told_apart(small[0.9])} and {not_told_apart(small[0.98])} behind)',
  ]


def _over_scratch() -> tables.Mean:
  """Returns UniDLTH's points above a ticket from scratch at 99.5%."""
  ours = accuracies('mnist/ramp_of_unidlth')['unidlth'][0.995]
  theirs = accuracies('mnist/random_erk')['random_erk'][0.995]
  assert ours.keys() == theirs.keys() and len(ours) == 5
  return tables.mean([ours[seed] - theirs[seed] for seed in ours])


def _ramp(sparsity: float, question: str = 'mnist/ramp_of_unidlth') -> Any:
  return lead(question, 'unidlth', 'unidlth_no_ramp', sparsity)


def ramp_above() -> list[str]:
  """docs: what the ramp is worth."""
  assert _ramp(0.99).seeds == _ramp(0.995).seeds == 5
  return [
    f'the ramp is worth {above(_ramp(0.99))} points at 99% and '
    f'{above(_ramp(0.995), 1)} at 99.5%, where UniDLTH is '
    f'{above(_over_scratch(), 1)} points above `random_erk` (MNIST, five seeds;'
  ]


def lth_at_its_own_cost() -> list[str]:
  """docs: trainings of LTH."""
  full = 'mnist/lth_at_full_cost'
  (times,) = _trainings(full, 15)
  (rounds,) = {r['rounds'] for r in rows(full) if r['method'] == 'lth_full'}
  *some, last = _trainings('mnist/lth_at_full_cost_seed_0', 15)
  equal, ours = (
    lead(full, 'lth_full', other, 0.98) for other in ('lth', 'unilth')
  )
  assert lead(full, 'unilth', 'lth', 0.98).verdict == 'not told apart'
  counts = f'{", ".join(map(str, some))} and {last} trainings'
  return [
    f'trains for all 15 epochs in each of its {rounds:.0f} rounds and before '
    f'the first, {times} times the cost of the others.',
    f'({not_told_apart(ours)} points behind), nor from LTH at equal cost, '
    f'which is {above(equal)} points below `lth_full`.',
    f'LTH has {counts}',
    f'of {some[0]} to {last} trainings, has three seeds',
  ]


def ablations() -> list[str]:
  """docs: what each part is worth."""
  parts, ramp = 'mnist/ablations', 'mnist/ramp_by_default'

  def worth(method: str, part: str) -> tables.Mean:
    return lead(parts, method, f'{method}_{part}', 0.98)

  def over_all(method: str) -> tables.Mean:
    """Returns the points over all sparsities, per seed."""
    found = accuracies(ramp)
    ours, theirs = found[method], found[f'{method}_no_ramp']
    seeds = [[ours[s][n] - theirs[s][n] for s in ours] for n in range(3)]
    return tables.mean([sum(points) / len(points) for points in seeds])

  at = {s: lead(ramp, 'unilth', 'unilth_no_ramp', s) for s in (0.98, 0.99)}
  layer = tables.mean([*accuracies(parts)['unilth_layer'][0.98].values()])
  return [
    f'ERK is worth {above(worth("unidlth", "layer"), 1)} points to UniDLTH. '
    'One ranking over all layers gives UniLTH '
    f'{not_told_apart(worth("unilth", "layer"))},',
    f'({not_told_apart(over_all("unilth"))} over the four sparsities; '
    f'{above(at[0.98])} at 98% alone, {not_told_apart(at[0.99])} at 99%)',
    f'as it is by default ({not_told_apart(over_all("unidlth"))}).',
    f'it loses {above(worth("unilth", "one_round"))} points; UniDLTH '
    f'{not_told_apart(worth("unidlth", "one_round"))}, not told apart.',
    f'UniLTH ({not_told_apart(worth("unilth", "no_restart"))} at 98%)',
    f'UniDLTH ({not_told_apart(worth("unidlth", "no_restart"))}).',
    f'(`unilth_layer`, {deviation(layer)} at 98%, three seeds) UniLTH is not '
    f'told apart from `gmp_restart` ({not_told_apart(_each_layer_apart())})',
    *_other_parts(parts),
  ]


def _other_parts(question: str) -> list[str]:
  """Returns nothing, if no other part is told apart."""
  told = {
    name
    for method in ('unilth', 'unidlth')
    for name in accuracies(question)
    if name.startswith(f'{method}_')
    and lead(question, method, name, 0.98).verdict != 'not told apart'
  }
  assert told == {'unilth_no_ramp', 'unilth_one_round', 'unidlth_layer'}
  return []


def ramp_in_the_docs() -> list[str]:
  """docs: what the ramp is worth to random tickets."""
  scratch = accuracies('mnist/random_erk')['random_erk'][0.995]
  mean = tables.mean([*scratch.values()])
  small = 'cifar10/small_ramp_of_unidlth'
  every = 0.9, 0.95, 0.98, 0.99
  erk = [lead(MNIST, 'dlth_erk', 'random_erk', s) for s in every]
  assert {found.verdict for found in erk} == {'not told apart'}
  return [
    f'it is worth {above(_ramp(0.99))} points to UniDLTH at 99% and '
    f'{above(_ramp(0.995), 1)} at 99.5%; at 98% it is not told apart '
    f'({not_told_apart(_ramp(0.98))}). At 99.5% UniDLTH is '
    f'{above(_over_scratch(), 1)} points above the same ticket from scratch',
    f'({deviation(mean)}: {listed(scratch.values())};',
    f'not told apart ({not_told_apart(_ramp(0.98, small))} at 98% and '
    f'{not_told_apart(_ramp(0.99, small))} at 99%, three seeds;',
    f'is ahead of `random_cut` by {span(_dlth_over_random_cut(), 0)} points in '
    'the test with the same settings',
    f'({interval(erk[2])} at 98%, {interval(erk[3])} at 99%).',
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
    lead(MNIST, 'gmp_restart', 'gmp', s) for s in (0.9, 0.95, 0.98, 0.99)
  ]
  assert {found.verdict for found in restart[2:]} == {'not told apart'}
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
    f'by {above(late[0.99])} points at 99%, and not told apart at 98% '
    f'({not_told_apart(late[0.98])}).',
    f'is worth {above(restart[0])} and {above(restart[1])} points to gradual '
    'pruning at 90 and 95%',
    f'{own:.2f}, against {less:.2f} (0.4) and {most:.2f} (0.75 after a shorter '
    'stage 1)',
    f'({tenth:.2f} against {own:.2f})',
  ]


def readme() -> list[str]:
  """README: which method is ahead, in words; as in the others."""
  unilth_on_mnist()
  random_tickets()
  unilth_elsewhere()
  controls_claims.check()
  return [
    '`UniLTH` is not told apart from gradual pruning with its ranking and '
    'learning rate (`gmp_global_restart`) up to 95%, is a little below it at '
    "98 and 99%, and above tfmot's pruning,",
    '`UniDLTH` is above the same random ticket trained from scratch '
    '(`random_erk`) at 99% alone, and below RigL at each sparsity.',
  ]


def backends() -> list[str]:
  """docs/keras3.md: the four methods on each backend."""
  lines = []
  for label, name in _BACKENDS.items():
    found = accuracies(f'mnist/on_{name}')
    means = [
      tables.mean([*found[method][0.98].values()])
      for method in ('unilth', 'unidlth', 'lth', 'dlth')
    ]
    assert {mean.seeds for mean in means} == {3}
    lines.append(f'| {" | ".join([label, *map(deviation, means)])} |')
  return lines


def guide() -> list[str]:
  """docs/results.md: which method is ahead, in words; as in the others."""
  unilth_on_mnist()
  controls_claims.check()
  unilth_elsewhere()
  found = [
    lead(MNIST, 'unilth', other, s)
    for other in ('random', 'unidlth')
    for s in (0.9, 0.95, 0.98, 0.99)
  ]
  assert {one.verdict for one in found} == {'above'}
  assert {_ramp(s).verdict for s in (0.99, 0.995)} == {'above'}
  assert _ramp(0.98).verdict == 'not told apart'
  return [
    '`UniLTH` is not told apart from gradual pruning with its ranking and '
    'learning rate at 90 and 95%: the 95% interval of the difference contains '
    'zero. At 98 and 99% it is a little below.',
    '`UniLTH` is above `gmp`, `lr_rewind` and `lth` at each sparsity.',
    'Random tickets are worse than found ones.',
    'On MNIST the L2 ramp of `UniDLTH` helps them from 99% on.',
    'is not told apart from `UniLTH` at 98%.',
  ]


DOCS = (
  unilth_on_mnist,
  unilth_elsewhere,
  random_tickets,
  ramp_above,
  lth_at_its_own_cost,
  ablations,
  ramp_in_the_docs,
  searched,
)
GUIDE = (guide,)
README = (readme,)
KERAS_3 = (backends,)
