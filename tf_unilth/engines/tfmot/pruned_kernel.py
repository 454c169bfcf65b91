"""PrunedKernel: one masked weight of a wrapped layer."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from tf_unilth.engines.tfmot import kernel_axes, prunable_weights
from tf_unilth.selection import pruning_units
from tf_unilth.selection.unit import Channel, Structure


@dataclasses.dataclass(frozen=True, eq=False)
class PrunedKernel:
  """One masked weight of a wrapped layer.

  Args:
    name: the name of its layer, with a suffix if the layer has several.
    weight: the float32 variable.
    mask: a variable of the same shape, 1 where the weight is kept, else 0.
    schedule: the pruning schedule of its layer.
    structure: the units in which it is pruned.
    is_counted: whether its elements count as weights. With
      `structure='channels'`, biases, gammas, betas and depthwise kernels are
      masked, but not counted.
  """

  name: str
  weight: Any
  mask: Any
  schedule: Any
  structure: Structure
  is_counted: bool = True

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of the weight."""
    return tuple(self.weight.shape)


def find_kernels(wrappers: Iterable[Any]) -> list[PrunedKernel]:
  """Returns the kernels of wrapped layers, in order, each once.

  Args:
    wrappers: wrapped layers. A model lists a shared layer several times.
  """
  kernels: dict[Any, PrunedKernel] = {}
  for kernel in _all_kernels(wrappers):
    kernels.setdefault(kernel.weight.ref(), kernel)
  return list(kernels.values())


def _all_kernels(wrappers: Iterable[Any]) -> Iterator[PrunedKernel]:
  for wrapper in wrappers:
    weights = [
      prunable_weights.unwrap_autocast(weight)
      for weight, *_ in wrapper.pruning_vars
    ]
    kernels = len(weights) - getattr(wrapper, 'companion_count', 0)
    names = _names(wrapper.layer.name, weights, kernels)
    for index, ((_, mask, _), weight, name) in enumerate(
      zip(wrapper.pruning_vars, weights, names, strict=True)
    ):
      yield PrunedKernel(
        name,
        weight,
        prunable_weights.unwrap_autocast(mask),
        wrapper.pruning_schedule,
        _structure(wrapper, weight),
        index < kernels,
      )


def _structure(wrapper: Any, weight: Any) -> Structure:
  if getattr(wrapper, 'structure', None) == 'channels':
    return Channel()
  return pruning_units.from_arguments(
    wrapper.block_size,
    wrapper.block_pooling_type,
    wrapper.sparsity_m_by_n,
    kernel_axes.input_axis(wrapper.layer, weight),
  )


def _names(layer_name: str, weights: list[Any], kernels: int) -> list[str]:
  """Returns the names of a layer's kernels, then of its other weights."""
  others = [
    f'{layer_name}/{weight.name.split(":")[0].split("/")[-1]}'
    for weight in weights[kernels:]
  ]
  return prunable_weights.kernel_names(layer_name, weights[:kernels]) + others
