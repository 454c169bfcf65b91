"""Which weights go together: single ones, blocks, or m of n consecutive.

A structure divides a kernel into units that are cut as a whole. `masks.select`
ranks units; a structure pools scores and masks of weights into those of units
and expands what was selected. Plain arrays, no Keras. As everywhere, a mask is
True where something is kept, and ties go by index.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_unilth.argument_checks import format_value
from tf_unilth.selection.blocks import Block
from tf_unilth.selection.m_by_n import MByN
from tf_unilth.selection.unit import Single, Structure

# Of what NumPy counts with.
_BEYOND = 1 << 63


def from_arguments(
  block_size: Iterable[int],
  block_pooling_type: str,
  sparsity_m_by_n: Iterable[int] | None,
  axis: int = -2,
) -> Structure:
  """Returns the structure that the arguments of tfmot's wrapper ask for.

  Args:
    block_size: (height, width); (1, 1) for none.
    block_pooling_type: `'AVG'` or `'MAX'`.
    sparsity_m_by_n: (m, n), or `None`. It goes before `block_size`.
    axis: where the kernel's inputs lie, negative.

  Raises:
    ValueError: an argument is out of its range.

  >>> from_arguments((1, 1), 'AVG', None)
  Single()
  >>> from_arguments((1, 1), 'AVG', (2, 4))
  MByN(m=2, n=4, axis=-2)
  """
  if sparsity_m_by_n is not None:
    m, n = _whole_pair('sparsity_m_by_n', sparsity_m_by_n)
    return MByN(m, n, axis)
  height, width = _whole_pair('block_size', block_size)
  if height == width == 1:
    return Single()
  return Block(height, width, block_pooling_type)


def _whole_pair(name: str, value: Any) -> tuple[int, int]:
  # The bytes of b'24' are numbers.
  is_pair = isinstance(value, Iterable) and not isinstance(value, bytes)
  pair = tuple(value) if is_pair else ()
  if len(pair) != 2 or not all(
    isinstance(number, int | np.integer)
    and not isinstance(number, bool)
    and number < _BEYOND
    for number in pair
  ):
    raise ValueError(
      f'{name} must be two whole numbers, but is {format_value(value)}.'
    )
  return int(pair[0]), int(pair[1])
