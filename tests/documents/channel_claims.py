"""What docs/channels_accuracy.md says, from the committed runs.

Each function returns parts of the document, with the numbers of the files.
"""

from tests.documents.committed_runs import lead, rows

MNIST = 'mnist/channels'
_SHARES = (0.5, 0.75, 0.9)


def _points(ours: str, theirs: str) -> str:
  """Returns the points of one method above another at each share, in words."""
  found = {s: lead(MNIST, ours, theirs, s) for s in _SHARES}
  assert len({points.seeds for points in found.values()}) == 1
  return ', '.join(
    f'{points.value:+.2f} +- {points.margin:.2f} ({100 * s:.0f}%)'
    for s, points in found.items()
  )


def ramp() -> list[str]:
  """docs: UniLTH beside itself without the ramp."""
  return [f'without its ramp: {_points("unilth", "unilth_no_ramp")}']


def controls() -> list[str]:
  """docs: UniLTH beside gradual pruning and the small dense network."""
  return [
    f'`gmp_global`: {_points("unilth", "gmp_global")}',
    f'`small_dense`: {_points("unilth", "small_dense")}',
  ]


def random_units() -> list[str]:
  """docs: UniDLTH beside random units from scratch and the small network."""
  return [
    f'`random`: {_points("unidlth", "random")}',
    f'`small_dense`: {_points("unidlth", "small_dense")}',
  ]


def no_plateau() -> list[str]:
  """docs: what the rows without a plateau would be."""
  found = [row for row in rows(MNIST) if row['method'].startswith('unilth')]
  assert found and all(row['plateau_epoch'] == '' for row in found)
  return ['no run met a plateau']


ACCURACY = (ramp, controls, random_units, no_plateau)
