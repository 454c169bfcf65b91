"""What docs/comparison.md says of CIFAR-10 and the digits.

Each function returns parts of the document, with the numbers of the files.
"""

from recipes.comparison import tables
from tests.documents.committed_runs import (
  accuracies,
  csv_rows,
  deviation,
  leads,
  listed,
  load,
  rows,
  span,
)
from tests.documents.mnist_claims import EQUAL_COST, SMALL

_AT_ONCE = 'cut before the first step: `--method=random --scope=erk`'
_FIRST_STEPS = {
  'after 23 steps: `--method=dlth --scope=erk --limit=0 '
  '--finetune_fraction=0.99`': 'dlth_erk, cut after 23 steps',
  'cut before the first, `--warmup_epochs=3`': 'random_erk, warm-up',
  'after 23 steps, `--warmup_epochs=3`': (
    'dlth_erk, cut after 23 steps, warm-up'
  ),
}


def _seeds(name: str) -> list[float]:
  """Returns test accuracies in percent of single runs by their name."""
  found = csv_rows('cifar10/small_single_runs/runs.csv')
  return [100 * row['test_accuracy'] for row in found if row['name'] == name]


def _single(name: str) -> tables.Mean:
  """Returns the test accuracies of single runs by their name."""
  return tables.mean(_seeds(name))


def small_network() -> list[str]:
  """docs: leads on the small network for CIFAR-10."""

  def below(question: str) -> str:
    points = leads(question, 'unidlth', ['random_erk'])
    return span([-x for x in points], 1)

  ours = leads(SMALL, 'unilth', EQUAL_COST)
  ours_globally = leads(SMALL, 'unilth', EQUAL_COST[2:])
  ramp = leads('cifar10/small_by_default', 'unidlth', ['unidlth_no_ramp'])
  above = {
    name: span(leads(SMALL, 'unidlth', [name]), 1)
    for name in ('dlth_erk', 'random', 'dlth')
  }
  return [
    f'UniLTH leads by {span(ours, 2)} points, also over the methods that rank '
    f'all layers together as it does ({span(ours_globally, 2)}).',
    f'the one trained from scratch is {below(SMALL)} points above UniDLTH, '
    f'which is {above["dlth_erk"]} above `dlth_erk`, {above["random"]} above '
    f'`random` and {above["dlth"]} above `dlth`.',
    f'to UniDLTH it gives up to {max(ramp):.1f} points. By default UniDLTH is '
    f'{below("cifar10/small_by_default")} points below the ticket from scratch',
    f'and twice the learning rate with a warm-up, {below(SMALL)}.',
  ]


def one_dense_epoch() -> list[str]:
  """docs: UniDLTH with one dense epoch on the small network."""
  default = accuracies('cifar10/small_by_default')['unidlth'][0.98]
  found = _single('unidlth, one dense epoch')
  gain = found.value - tables.mean([*default.values()]).value
  return [
    f'is worth {gain:.1f} points at 98% ({deviation(found)}: '
    f'{listed(_seeds("unidlth, one dense epoch"))};'
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
  after, warm, after_warm = map(_single, _FIRST_STEPS.values())
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
    f'{at_once.value - after.value:.1f} points below the same ticket cut '
    'before the first; where the learning rate rises over three epochs, '
    f'{warm.value - after_warm.value:.1f} points (98%):',
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
    f'UniLTH leads by {least:.1f} points and more;',
    f'ended a point lower, at {100 * results["test_accuracy"]:.2f}.',
  ]


def digits() -> list[str]:
  """docs: the table of the digits."""
  groups: dict[str, list[float]] = {}
  for row in csv_rows('digits/by_default/runs.csv'):
    restart = ' --lr_restart' if row['lr_restart'] == 'True' else ''
    scope = f' --scope={row["scope"]}' if row['scope'] else ''
    label = f'{row["method"]}{restart}{scope}'
    groups.setdefault(label, []).append(100 * row['test_accuracy'])
  return [
    f'| `{label}` | {deviation(tables.mean(found))} | {listed(found)} |'
    for label, found in groups.items()
  ]


DOCS = (
  small_network,
  one_dense_epoch,
  four_times_the_epochs,
  first_dense_steps,
  resnet20,
  digits,
)
