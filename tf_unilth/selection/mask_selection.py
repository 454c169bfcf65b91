"""Selection of the weights to prune, on NumPy arrays.

A mask is a boolean array, True where a weight is kept. A sparsity is a fraction
of zeros in [0, 1). Counts are exact: a selection prunes precisely the number of
weights that the sparsity gives, with ties broken by index. If weights are
pruned in units (`pruning_units.py`), the arrays have one element per unit.
"""

from collections.abc import Sequence

import numpy as np

from tf_unilth.selection.layer_shares import layer_zeros
from tf_unilth.selection.round_sparsity import zeros_at
from tf_unilth.selection.smallest_k import (
  Ranks,
  each_without_smallest,
  without_smallest,
)


def random_scores(shapes: Sequence[tuple[int, ...]], seed: int) -> list:
  """Returns a fixed random order of each kernel's elements, as scores.

  The scores depend only on `seed` and the position in the list, so that any
  process draws the same ticket.

  Args:
    shapes: the shape of each array of scores.
    seed: the seed of the order, at least 0.

  Returns:
    One float32 array in [0, 1) per shape.
  """
  return [
    np.random.Generator(np.random.PCG64([seed, index])).random(
      shape, np.float32
    )
    for index, shape in enumerate(shapes)
  ]


def select(
  scores: Sequence[np.ndarray],
  masks: Sequence[np.ndarray],
  sparsity: float,
  scope: str,
  min_units_kept: int = 1,
) -> list[np.ndarray]:
  """Returns masks with a given sparsity that prune the smallest scores.

  Exactly round(sparsity * n) elements are pruned, or as many as before if that
  is more. Pruned elements stay pruned. Every array keeps at least
  `min_units_kept` elements.

  Args:
    scores: one finite array per kernel; their absolute values are ranked. For
      magnitude pruning, the weights themselves.
    masks: the present masks in the same shapes, True where kept.
    sparsity: the fraction of zeros over all arrays together, in [0, 1); in
      [0, 1] if `min_units_kept` is 0.
    scope: `'global'` ranks all arrays together, `'layer'` and `'erk'` rank each
      array separately.
    min_units_kept: the fewest elements that each array keeps, 0 or 1.

  >>> scores = [np.array([3., 1., 2.]), np.array([.1, .2, .3])]
  >>> ones = [np.ones(3, bool), np.ones(3, bool)]
  >>> [mask.tolist() for mask in select(scores, ones, 0.5, 'global')]
  [[True, False, True], [False, False, True]]
  >>> [mask.tolist() for mask in select(scores, ones, 0.5, 'layer')]
  [[True, False, False], [False, True, True]]
  """
  shapes = [mask.shape for mask in masks]
  pruned = [mask.size - int(np.count_nonzero(mask)) for mask in masks]
  total = max(zeros_at(sparsity, sum(m.size for m in masks)), sum(pruned))
  ranks = [Ranks(s, m) for s, m in zip(scores, masks, strict=True)]
  if scope == 'global':
    selected = without_smallest(ranks, total)
    if min_units_kept and not all(mask.any() for mask in selected):
      for rank in ranks:
        rank.spare_best()
      selected = without_smallest(ranks, total)
  else:
    counts = layer_zeros(shapes, sparsity, total, scope, pruned, min_units_kept)
    selected = each_without_smallest(ranks, counts)
  return [
    mask.reshape(shape) for mask, shape in zip(selected, shapes, strict=True)
  ]
