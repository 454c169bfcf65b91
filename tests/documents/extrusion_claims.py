"""What docs/comparison.md says of ways to extrude, from committed runs."""

from recipes.comparison import tables
from tests.documents.committed_runs import deviation, listed, rows

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


DOCS = (extrusions,)
