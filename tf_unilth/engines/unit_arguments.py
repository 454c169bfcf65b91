"""Checks the arguments that determine the units in which kernels are pruned."""

from typing import Any

from tf_unilth.argument_checks import check_option
from tf_unilth.selection import blocks, pruning_units

STRUCTURES = ('channels',)


def check_units(
  block_size: Any,
  block_pooling_type: Any,
  sparsity_m_by_n: Any,
  structure: Any = None,
) -> dict[str, Any]:
  """Returns the arguments by name; `structure` only if it is given.

  Args:
    block_size: as in `prune_low_magnitude`, as the others.
    block_pooling_type: `'AVG'` or `'MAX'`.
    sparsity_m_by_n: (m, n) or `None`.
    structure: `'channels'` or `None`.

  Raises:
    ValueError: an argument is out of range, or they name two kinds of unit.
  """
  pooling = check_option(
    'block_pooling_type', block_pooling_type, blocks.POOLINGS
  )
  pruning_units.from_arguments(block_size, 'AVG', None)
  if sparsity_m_by_n is not None:
    pruning_units.from_arguments((1, 1), 'AVG', sparsity_m_by_n)
    if tuple(block_size) != (1, 1):
      raise ValueError(
        'block_size and sparsity_m_by_n exclude each other, but are '
        f'{block_size} and {sparsity_m_by_n}: give one of them.'
      )
  structure = check_option('structure', structure, STRUCTURES, none=True)
  if structure and (sparsity_m_by_n is not None or tuple(block_size) != (1, 1)):
    raise ValueError(
      f'structure={structure!r} must be given without block_size and '
      f'sparsity_m_by_n, but they are {block_size} and {sparsity_m_by_n}.'
    )
  units = {
    'block_size': block_size,
    'block_pooling_type': pooling,
    'sparsity_m_by_n': sparsity_m_by_n,
  }
  return units | {'structure': structure} if structure else units
