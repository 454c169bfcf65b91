"""What docs/comparison.md says of ways to extrude, from committed runs."""

import tf_unilth
from recipes.comparison import tables
from tests.documents.committed_runs import (
  deviation,
  listed,
  not_told_apart,
  paired,
  rows,
  span,
)

_QUESTION = 'cifar10/small_extrusions'
_SCRATCH = 'random_erk_fast'
# In the order of the document, from the best: what it is, its dense epochs, and
# the percent of the others in which weights leave.
_RUNS = {
  _SCRATCH: ('the ticket from scratch', 0, 0),
  'dlth_erk_short': ('DLTH, four rounds', 0, 5),
  'unidlth_short': ('UniDLTH, four rounds', 1, 5),
  'unidlth_rewound': ('the same, up to six dense epochs', 6, 5),
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
  lines = []
  alone = {}
  for name, (text, dense, percent) in _RUNS.items():
    alone[name] = (_EPOCHS - dense) * (1 - percent / 100)
    lines.append(
      f'| `{name}` | {text} | {dense} | {percent}% | {alone[name]:.1f} | '
      f'{deviation(means[name])} ({listed(found[name])}) |'
    )
  by_epochs = sorted(_RUNS, key=alone.__getitem__)
  by_accuracy = sorted(_RUNS, key=lambda name: means[name].value)
  assert by_epochs[0] == by_accuracy[0]
  assert {*by_epochs[-3:]} == {*by_accuracy[-3:]}
  assert by_epochs[1:4] != by_accuracy[1:4]
  assert by_accuracy[-1] == _SCRATCH
  return lines


def dense_epoch() -> list[str]:
  """docs: what one dense epoch costs, and the run that was rewound."""
  costs = [
    _validation(f'dlth_erk_{name}')[seed] - _validation(f'unidlth_{name}')[seed]
    for name in ('short', 'slow')
    for seed in (0, 1)
  ]
  (rewound,) = (
    row
    for row in rows(_QUESTION)
    if row['method'] == 'unidlth_rewound' and row['rewound_to_epoch']
  )
  return [
    f'One dense epoch costs {span(costs, 1)} points in each of four pairs',
    f'With seed {rewound["seed"]:.0f} `unidlth_rewound` met a plateau and was '
    f'rewound to epoch {rewound["rewound_to_epoch"]:.0f},',
  ]


def momentum() -> list[str]:
  """docs: how long each ticket trains after the other weights are gone."""
  (steps,) = {row['steps'] for row in rows(_QUESTION)}
  epochs = min(
    (_EPOCHS - dense) * (1 - percent / 100)
    for _, dense, percent in _RUNS.values()
  )
  return [f'for {epochs * steps / _EPOCHS:,.0f} steps or more alone.']


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
    'finetuning. 95% (`unidlth_brief`,',
    f'{gain(small, 0.98)} points at 98% here',
    f'{gain(mnist, 0.98)} and {gain(mnist, 0.99)} points at 98 and 99% on',
  ]


DOCS = (extrusions, dense_epoch, momentum, finetuning)
