"""Which weights go: exact counts and selections on plain arrays, no Keras.

A mask is a boolean array, True where the weight is kept. A sparsity is a
fraction of zeros in [0, 1). Counts are exact: a selection removes precisely
as many weights as it was asked to, ties broken by index. Where weights go
together, what is said of weights here holds of their units (`structure.py`).
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
  """Returns one fixed random order of each weight's elements, as scores.

  The stream depends on `seed` and the position in the list alone, so that any
  process draws the same ticket.
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
  """Returns the masks at `sparsity`: the smallest scores go, pruned stays so.

  Exactly round(sparsity * n) weights are zero afterwards (more only where
  there were more before), and every layer keeps at least
  `min_units_kept`.

  Args:
    scores: finite, one array per weight; their absolute values count. The
      weights themselves, for magnitude.
    masks: the present masks, True where kept.
    sparsity: fraction of zeros over all the arrays together, in [0, 1); in
      [0, 1] if nothing has to be kept.
    scope: `'global'` ranks all arrays together, `'layer'` and `'erk'` each
      apart.
    min_units_kept: how much of each array is left at least, 0 or 1.

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
    left = without_smallest(ranks, total)
    if min_units_kept and not all(mask.any() for mask in left):
      for rank in ranks:
        rank.spare_best()
      left = without_smallest(ranks, total)
  else:
    counts = layer_zeros(shapes, sparsity, total, scope, pruned, min_units_kept)
    left = each_without_smallest(ranks, counts)
  return [mask.reshape(shape) for mask, shape in zip(left, shapes, strict=True)]
