"""What docs/comparison.md says of CIFAR-10 and the digits.

Each function returns parts of the document, with the numbers of the files.
"""

from recipes.comparison import tables
from tests.documents.committed_runs import (
  above,
  accuracies,
  csv_rows,
  deviation,
  lead,
  leads,
  listed,
  load,
  not_told_apart,
  paired,
  rows,
  span,
  verdicts,
)
from tests.documents.mnist_claims import SMALL

_AT_ONCE = 'cut before the first step: `--method=random --scope=erk`'
_FIRST_STEPS = {
  'after 23 steps: `--method=dlth --scope=erk --limit=0 '
  '--finetune_fraction=0.99`': 'dlth_erk, cut after 23 steps',
  'cut before the first, `--warmup_epochs=3`': 'random_erk, warm-up',
  'after 23 steps, `--warmup_epochs=3`': (
    'dlth_erk, cut after 23 steps, warm-up'
  ),
}


def _runs(name: str) -> dict[int, float]:
  """Returns test accuracies in percent of single runs, by seed."""
  found = csv_rows('cifar10/small_single_runs/runs.csv')
  return {
    row['seed']: 100 * row['test_accuracy']
    for row in found
    if row['name'] == name
  }


def _seeds(name: str) -> list[float]:
  """Returns test accuracies in percent of single runs by their name."""
  return [*_runs(name).values()]


def _single(name: str) -> tables.Mean:
  """Returns the test accuracies of single runs by their name."""
  return tables.mean(_seeds(name))


def small_network() -> list[str]:
  """docs: leads on the small network for CIFAR-10."""
  default, at = 'cifar10/small_by_default', (0.9, 0.95, 0.98)
  same = 'not told apart'
  for method, other in (
    *(('unilth', other) for other in ('gmp', 'lr_rewind', 'lth')),
    *(('unidlth', other) for other in ('random', 'dlth')),
  ):
    assert {*verdicts(SMALL, method, other, *at)} == {'above'}
  restart = verdicts(SMALL, 'unilth', 'gmp_restart', *at)
  assert restart == [same, 'above', same]
  assert {*verdicts(SMALL, 'unidlth', 'dlth_erk', *at)} == {same}
  scratch = verdicts(SMALL, 'unidlth', 'random_erk', *at)
  assert scratch == [same, 'below', same]
  assert {*verdicts(default, 'unilth', 'unilth_no_ramp', *at)} == {same}
  ramp = [lead(default, 'unidlth', 'unidlth_no_ramp', s) for s in at]
  assert [found.verdict for found in ramp] == [same, same, 'above']
  assert lead(default, 'random_erk', 'unidlth', 0.9).verdict == same
  globally = leads(SMALL, 'unilth', ('lr_rewind', 'lth'))
  below = {
    question: [lead(question, 'random_erk', 'unidlth', s) for s in at]
    for question in (SMALL, default)
  }
  over = {
    name: span(leads(SMALL, 'unidlth', [name]), 1)
    for name in ('random', 'dlth')
  }
  return [
    'UniLTH is above `lr_rewind` and `lth`, which rank all layers together as '
    f'it does, by {span(globally, 2)} points,',
    'UniDLTH is below the one trained from scratch by '
    f'{above(below[SMALL][1])} points at 95%,',
    f'It is above `random` by {over["random"]} and above `dlth` by '
    f'{over["dlth"]} points.',
    f'To UniDLTH it gives {above(ramp[2])} points at 98%',
    f'by {above(below[default][1])} and {above(below[default][2])} points at '
    '95 and 98%',
    'and twice the learning rate with a warm-up, by '
    f'{above(below[SMALL][1])} at 95% alone.',
  ]


def one_dense_epoch() -> list[str]:
  """docs: UniDLTH with one dense epoch on the small network."""
  default = accuracies('cifar10/small_by_default')['unidlth'][0.98]
  name = 'unidlth, one dense epoch'
  gain = paired(_runs(name), default)
  return [
    f'ends {not_told_apart(gain)} points higher at 98%, which three seeds do '
    f'not tell apart from 0 ({deviation(_single(name))}: '
    f'{listed(_seeds(name))};'
  ]


def four_times_the_epochs() -> list[str]:
  """docs: long runs on the small network."""
  default, four, one, scratch = (
    _single(f'{name}, 60 epochs').value
    for name in (
      'unidlth',
      'unidlth, four dense epochs',
      'unidlth, one dense epoch',
      'random_erk',
    )
  )
  found = accuracies('cifar10/small_by_default')
  before = found['random_erk'][0.98][0] - found['unidlth'][0.98][0]
  return [
    f'it ends at {default:.2f}%, with four rounds, 95% for finetuning and four '
    'dense epochs (`--rounds=4 --finetune_fraction=0.95 '
    f'--max_dense_fraction=0.07`) at {four:.2f}, with one (`0.017`) at '
    f'{one:.2f}, and the ticket from scratch (`--method=random --scope=erk`) '
    f'at {scratch:.2f}: with this seed the gap closes with the budget, from '
    f'{before:.1f} to {scratch - default:.1f} points by default',
  ]


def first_dense_steps() -> list[str]:
  """docs: a ticket that is cut after some dense steps."""
  scratch = accuracies('cifar10/small_by_default')['random_erk'][0.98]
  at_once = tables.mean([*scratch.values()])
  (steps,) = {row['steps'] for row in rows('cifar10/small_by_default')}
  after, warm, after_warm = map(_runs, _FIRST_STEPS.values())
  lines = [
    f'| {label} | {deviation(found)} | {listed(values)} |'
    for label, found, values in (
      (_AT_ONCE, at_once, scratch.values()),
      *(
        (label, _single(name), _seeds(name))
        for label, name in _FIRST_STEPS.items()
      ),
    )
  ]
  return [
    *lines,
    f'after 23 of {steps:,.0f} steps, without a ramp, ends '
    f'{above(paired(scratch, after))} points below the same ticket cut before '
    'the first; where the learning rate rises over three epochs, '
    f'{above(paired(warm, after_warm))} points (98%):',
  ]


def resnet20() -> list[str]:
  """docs: ResNet-20, and its run in float32."""
  results = load('run/cifar10/resnet20_dense/results.json')
  found = accuracies('cifar10/resnet20_by_default')
  others = found.keys() - {'dense', 'unilth'}
  least = min(
    found['unilth'][0.95][0] - found[name][0.95][0] for name in others
  )
  return [
    f'UniLTH is ahead by {least:.1f} points and more.',
    f'ended a point lower, at {100 * results["test_accuracy"]:.2f}.',
  ]


DOCS = (
  small_network,
  one_dense_epoch,
  four_times_the_epochs,
  first_dense_steps,
  resnet20,
)
