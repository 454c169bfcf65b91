"""Checks whether the ticket callbacks can prune a wrapped layer."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_unilth.engines import fit_checks
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.pruned_kernel import PrunedKernel
from tf_unilth.engines.tfmot.pruning_wrapper import PruneLowMagnitude


def check_wrapper(wrapper: Any) -> None:
  """Raises a `ValueError` if a ticket callback cannot prune a wrapper."""
  name, schedule = wrapper.layer.name, wrapper.pruning_schedule
  if not isinstance(schedule, IterativeSparsity):
    raise ValueError(
      f'pruning_schedule of layer {name!r} must be a tf_unilth.'
      f'IterativeSparsity, but is a {type(schedule).__name__}.'
    )
  if isinstance(schedule, FixedMask) and not isinstance(
    wrapper, PruneLowMagnitude
  ):
    raise ValueError(
      f'FixedMask of layer {name!r} needs tf_unilth.prune_low_magnitude: '
      "tfmot's wrapper does not set its mask."
    )
  if wrapper.pruning_obj is None:
    raise ValueError(
      f'layer {name!r} has no weights yet: give the model an input '
      'shape, or call model.build(input_shape) before fit.'
    )
  if tuple(wrapper.block_size) != (1, 1) and wrapper.sparsity_m_by_n:
    raise ValueError(
      f'block_size and sparsity_m_by_n of layer {name!r} exclude each '
      f'other, but are {tuple(wrapper.block_size)} and '
      f'{wrapper.sparsity_m_by_n}: give one of them.'
    )


def check_kernel(kernel: PrunedKernel) -> None:
  """Raises a `ValueError` if a kernel does not divide into its units."""
  shape = tuple(kernel.weight.shape)
  if not kernel.structure.fits(shape):
    raise ValueError(
      f'{kernel.structure.needs}, but the kernel of layer '
      f'{kernel.name!r} has shape {shape}: leave that layer unwrapped.'
    )


def warn_of_open_masks(kernels: Iterable[PrunedKernel]) -> None:
  """Warns of a `FixedMask` with empty masks or with unmasked zeros."""
  for kernel in kernels:
    if not isinstance(kernel.schedule, FixedMask):
      continue
    kept = kernel.mask.numpy().astype(bool)
    zeros = int(np.sum((kernel.weight.numpy() == 0) & kept))
    fit_checks.warn_of_open_mask(
      kernel.name, kept, 0 if kernel.schedule.masks_given else zeros
    )
