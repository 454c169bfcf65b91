"""What docs/comparison.md says of the controls at 98%, from committed runs."""

from recipes.comparison import tables
from tests.documents.committed_runs import above, lead, not_told_apart

CONTROLS = 'mnist/controls'


def _lead(ours: str, theirs: str) -> tables.Mean:
  found = lead(CONTROLS, ours, theirs, 0.98)
  assert found.seeds == 4
  return found


def controls() -> list[str]:
  """docs: UniLTH and UniDLTH beside their controls, on new seeds."""
  without, restart = (
    not_told_apart(_lead('unilth', name))
    for name in ('gmp_global', 'gmp_global_restart')
  )
  ramp = not_told_apart(_lead('unilth', 'unilth_no_ramp'))
  cycles = above(_lead('unilth', 'cyclic'))
  scratch = not_told_apart(_lead('unidlth', 'random_erk'))
  rigl = above(_lead('rigl', 'unidlth'))
  return [
    'is not told apart from gradual pruning with its own ranking '
    f'(`gmp_global` {without}, with a restart {restart}), nor from itself '
    f'without the ramp ({ramp});',
    f'above `cyclic` by {cycles} points.',
    f'is not told apart from `random_erk` ({scratch}), and RigL is above it by '
    f'{rigl} points.',
  ]


DOCS = (controls,)
