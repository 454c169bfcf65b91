"""What docs/comparison.md says of ways to extrude, from committed runs."""

import tf_unilth
from recipes.comparison import tables
from tests.documents.committed_runs import (
  deviation,
  listed,
  not_told_apart,
  paired,
  rows,
)

_QUESTION = 'cifar10/small_extrusions'
_SCRATCH = 'random_erk_fast'
# In the order of the document, from the best: what it is, its dense epochs, and
# the percent of the others in which weights leave.
_RUNS = {
  _SCRATCH: ('the ticket from scratch', 0, 0),
  'dlth_erk_short': ('DLTH, four rounds', 0, 5),
  'unidlth_short': ('UniDLTH, four rounds', 1, 5),
  'unidlth_rewound': ('the same, a longer dense stage', 6, 5),
  'unidlth_two_rounds': ('two longer rounds', 1, 25),
  'dlth_erk_slow': ('DLTH, one long ramp', 0, 50),
  'unidlth_slow': ('UniDLTH, one long ramp', 1, 50),
}
_EPOCHS = 15


def _validation(method: str) -> dict[int, float]:
  """Returns accuracies on validation images in percent, by seed."""
  return {
    row['seed']: 100 * row['validation_accuracy']
    for row in rows(_QUESTION)
    if row['method'] == method
  }


def extrusions() -> list[str]:
  """docs: the table of ways to extrude, and what it shows."""
  found = {name: [*_validation(name).values()] for name in _RUNS}
  means = {name: tables.mean(values) for name, values in found.items()}
  order = [means[name].value for name in _RUNS]
  assert order == sorted(order, reverse=True)
  lines = []
  for name, (text, dense, percent) in _RUNS.items():
    ticket = (_EPOCHS - dense) * (1 - percent / 100)
    lines.append(
      f'| `{name}` | {text} | {dense} | {percent}% | {ticket:.1f} | '
      f'{deviation(means[name])} ({listed(found[name])}) |'
    )
  behind = {n: means[_SCRATCH].value - means[n].value for n in _RUNS}
  return [
    *lines,
    f'behind by {behind["dlth_erk_short"]:.1f} points',
    f'with a dense epoch by {behind["unidlth_short"]:.1f},',
    f'with a ramp over half of the epochs by {behind["dlth_erk_slow"]:.1f} and '
    f'{behind["unidlth_slow"]:.1f}.',
  ]


def momentum() -> list[str]:
  """docs: how long each ticket trains after the other weights are gone."""
  (steps,) = {row['steps'] for row in rows(_QUESTION)}
  epochs = min(
    (_EPOCHS - dense) * (1 - percent / 100)
    for _, dense, percent in _RUNS.values()
  )
  return [f'the {epochs * steps / _EPOCHS:,.0f} steps or more that a ticket']


def finetuning() -> list[str]:
  """docs: the share for finetuning that UniDLTH has by default, and 95%."""

  def gain(question: str, sparsity: float) -> str:
    brief, default = (
      {
        row['seed']: 100 * row['validation_accuracy']
        for row in rows(question)
        if (row['method'], row['target_sparsity']) == (method, sparsity)
      }
      for method in ('unidlth_brief', 'unidlth')
    )
    assert brief.keys() == {0, 1, 2}
    return not_told_apart(paired(brief, default))

  small, mnist = (f'{name}/unidlth_finetuning' for name in ('cifar10', 'mnist'))
  default = tf_unilth.UniDLTH().finetune_fraction
  return [
    f'UniDLTH leaves {100 * default:g}% of what follows the dense stage for '
    'finetuning. 95% (`unidlth_brief`)',
    f'{gain(small, 0.98)} points at 98% here',
    f'{gain(mnist, 0.98)} and {gain(mnist, 0.99)} points at 98 and 99% on',
  ]


DOCS = (extrusions, momentum, finetuning)
