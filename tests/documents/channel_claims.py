"""What docs/channels_accuracy.md says, from the committed runs.

Each function returns parts of the document, with the numbers of the files.
"""

from tests.documents.committed_runs import above, lead, not_told_apart, rows

MNIST = 'mnist/channels'


def ramp() -> list[str]:
  """docs: UniLTH beside itself without the ramp."""
  points = lead(MNIST, 'unilth', 'unilth_no_ramp', 0.9)
  assert points.seeds == 3
  return [f'{not_told_apart(points)} points with 90% of the FLOPs removed']


def small_network() -> list[str]:
  """docs: UniLTH beside the small dense network."""
  with_ramp, without = (
    lead(MNIST, name, 'small_dense', 0.9)
    for name in ('unilth', 'unilth_no_ramp')
  )
  assert with_ramp.seeds == without.seeds == 3
  return [f'is {above(with_ramp)} points above it, {above(without)} without']


def flops() -> list[str]:
  """docs: that the networks that are compared are equally large."""
  runs = [row for row in rows(MNIST) if row['target_sparsity'] == 0.9]
  (small,) = {r['flops'] for r in runs if r['method'] == 'small_dense'}
  others = [r['flops'] for r in runs if r['method'] != 'small_dense']
  return [
    f'{small:,.0f} FLOPs are left to `small_dense` with 90% removed, and '
    f'{min(others):,.0f} to {max(others):,.0f} to the pruned networks'
  ]


def plateaus() -> list[str]:
  """docs: how many runs of UniLTH met a plateau."""
  runs = [row for row in rows(MNIST) if row['method'].startswith('unilth')]
  met = sum(row['plateau_epoch'] != '' for row in runs)
  return [f'{met} of {len(runs)} runs of UniLTH met a plateau']


ACCURACY = (ramp, small_network, flops, plateaus)
