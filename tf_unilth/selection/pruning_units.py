"""Pruning structures: single weights, blocks, or m of n consecutive weights.

A structure divides a kernel into units that are pruned as a whole. It converts
scores and masks of weights to those of units, `mask_selection.select` ranks the
units, and the structure converts the selected units back to a mask of weights.
A mask is True where a weight or unit is kept; ties are broken by index.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_unilth.argument_checks import format_value
from tf_unilth.selection.blocks import Block
from tf_unilth.selection.m_by_n import MByN
from tf_unilth.selection.unit import Single, Structure

_INT64_END = 1 << 63  # NumPy counts with int64.


def from_arguments(
  block_size: Iterable[int],
  block_pooling_type: str,
  sparsity_m_by_n: Iterable[int] | None,
  axis: int = -2,
) -> Structure:
  """Returns the structure for the arguments of tfmot's wrapper.

  Args:
    block_size: (height, width) in weights, each at least 1; (1, 1) for single
      weights.
    block_pooling_type: `'AVG'` or `'MAX'`.
    sparsity_m_by_n: (m, n) with 1 <= m < n, or `None`. If given, `block_size`
      is ignored.
    axis: the input axis of the kernel, negative.

  Raises:
    ValueError: an argument is out of range.

  >>> from_arguments((1, 1), 'AVG', None)
  Single()
  >>> from_arguments((1, 1), 'AVG', (2, 4))
  MByN(m=2, n=4, axis=-2)
  """
  if sparsity_m_by_n is not None:
    m, n = _int_pair('sparsity_m_by_n', sparsity_m_by_n)
    return MByN(m, n, axis)
  height, width = _int_pair('block_size', block_size)
  if height == width == 1:
    return Single()
  return Block(height, width, block_pooling_type)


def _int_pair(name: str, value: Any) -> tuple[int, int]:
  # Iterating over `bytes` gives integers.
  is_pair = isinstance(value, Iterable) and not isinstance(value, bytes)
  pair = tuple(value) if is_pair else ()
  if len(pair) != 2 or not all(
    isinstance(number, int | np.integer)
    and not isinstance(number, bool)
    and number < _INT64_END
    for number in pair
  ):
    raise ValueError(
      f'{name} must be two whole numbers, but is {format_value(value)}.'
    )
  return int(pair[0]), int(pair[1])
