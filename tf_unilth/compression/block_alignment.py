"""Blocks of four zeros along the inputs, which TFLite runs sparse."""

from collections.abc import Iterable

import numpy as np

from tf_unilth.user_warning import warn_user

_BLOCK = 4


def warn_if_lost(kernels: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
  """Warns of Dense kernels whose blocks lose their positions.

  `block_size=(4, 1)` zeros four consecutive inputs of an output together. Where
  inputs are removed, the others move up, and blocks no longer begin at a
  multiple of four.

  Args:
    kernels: the name of each layer, its kernel, and the one without the inputs
      and outputs that are removed; matrices (inputs, outputs).
  """
  lost = [
    name
    for name, before, after in kernels
    if (before == 0).any() and not _is_mixed(before) and _is_mixed(after)
  ]
  if lost:
    warn_user(
      f'blocks of {_BLOCK} zeros lose their positions where inputs are removed,'
      f' so TFLite runs these layers at dense speed: {", ".join(lost)}. Prune '
      'blocks after shrink.',
    )


def _is_mixed(kernel: np.ndarray) -> bool:
  """Returns whether any block has zeros and others; a last one is shorter."""
  zeros = kernel == 0
  starts = np.arange(0, len(kernel), _BLOCK)
  some = np.logical_or.reduceat(zeros, starts)
  return bool((some & ~np.logical_and.reduceat(zeros, starts)).any())
