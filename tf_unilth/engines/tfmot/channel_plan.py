"""The units of a model that is pruned by whole channels.

`channel_groups.py` finds them on the model's graph; here they become the
`Channels` of its masked weights.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tf_unilth.engines.channel_units import (
  ChannelGroup,
  ChannelGroups,
  WeightAxis,
)
from tf_unilth.engines.tfmot import (
  channel_companions,
  channel_groups,
  model_layers,
  prunable_weights,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_kernel import PrunedKernel
from tf_unilth.selection.channels import (
  Channels,
  UnitAxis,
  UnitGroup,
  UnitWeight,
)
from tf_unilth.selection.unit import Channel


def find_channels(
  model: keras.Model, kernels: Sequence[PrunedKernel]
) -> Channels | None:
  """Returns the units of a wrapped model.

  Args:
    model: the wrapped model.
    kernels: its masked weights.

  Returns:
    The units, with an entry for each of the kernels; `None` if the model was
    not wrapped with `structure='channels'`.

  Raises:
    ValueError: some layers were wrapped without it, the graph of the model is
      not known, or no channel can go.
  """
  by_channels = [isinstance(kernel.structure, Channel) for kernel in kernels]
  if not any(by_channels):
    return None
  if not all(by_channels):
    name = kernels[by_channels.index(False)].name
    raise ValueError(
      "structure='channels' needs all layers wrapped by it in one call, but "
      f'layer {name!r} is wrapped without it.'
    )
  if not model_layers.is_network(model):
    raise ValueError(
      f'model is a {type(model).__name__}, a subclassed model, around layers '
      "wrapped with structure='channels', which needs the model's graph: fit "
      'the Sequential or functional model that prune_low_magnitude returned.'
    )
  return _UnitTable(channel_groups.find_channel_groups(model), kernels).read()


def layers_with_units(model: keras.Model) -> set[keras.layers.Layer]:
  """Returns the layers that have weights of units that can be removed.

  Args:
    model: a built Sequential or functional model.
  """
  found = channel_groups.find_channel_groups(model)
  removable = found.removable
  return {
    axis.layer
    for axis in found.axes
    if _must_be_zero(axis) and removable[axis.units].any()
  }


class _UnitTable:
  """Translates what was found on the graph to the masked weights.

  Args:
    found: the units of the graph.
    kernels: the masked weights.
  """

  def __init__(self, found: ChannelGroups, kernels: Sequence[PrunedKernel]):
    self._found = found
    self._kernels = kernels
    indices = {kernel.weight.ref(): i for i, kernel in enumerate(kernels)}
    self._axes: list[list[WeightAxis]] = [[] for _ in kernels]
    # The layers of weights without a mask that a removed unit needs at zero.
    self._unmasked: dict[str, np.ndarray] = {}
    for axis in found.axes:
      variable = getattr(axis.layer, axis.weight)
      index = indices.get(prunable_weights.unwrap_autocast(variable).ref())
      if index is not None:
        self._axes[index].append(axis)
      elif _must_be_zero(axis):
        units = self._unmasked.get(axis.layer.name, axis.units)
        self._unmasked[axis.layer.name] = np.union1d(units, axis.units)

  def read(self) -> Channels:
    """Returns the units; raises a `ValueError` if none can go."""
    groups, pinned, graph_units = [], [], []
    masked = np.ones(self._found.count, bool)
    for units in self._unmasked.values():
      masked[units] = False
    for group in self._found.groups:
      reasons = list(group.reasons)
      if not group.pinned.all():
        reasons += self._unmasked_layers(group)
      if reasons:
        pinned.append(f'{group.name} ({", ".join(reasons)})')
      free = group.units[~group.pinned & masked[group.units]]
      if free.size:
        name = ' + '.join(group.layers)
        groups.append(UnitGroup(name, free.size, self._density(group)))
        graph_units.append(free)
    if not groups:
      raise ValueError(
        "structure='channels' finds no channel that can go. Layers that keep "
        f'their width: {"; ".join(pinned) or "all"}.'
      )
    removable = np.concatenate(graph_units)
    weights = self._weights(removable)
    return Channels(
      tuple(groups), weights, self._flops(removable), tuple(pinned)
    )

  def _unmasked_layers(self, group: ChannelGroup) -> list[str]:
    """Returns why a group stays: the layers whose weights have no mask."""
    return [
      f'{name} is not wrapped'
      for name, units in self._unmasked.items()
      if np.isin(units, group.units).any()
    ]

  def _density(self, group: ChannelGroup) -> float:
    """Returns sum(shape) / prod(shape) over the kernels that make a group."""
    shapes = [
      tuple(getattr(axis.layer, axis.weight).shape)
      for axis in self._found.creators
      if np.isin(axis.units[:1], group.units).any()
    ]
    sizes = sum(int(np.prod(shape)) for shape in shapes)
    return sum(map(sum, shapes)) / sizes if sizes else 1.0

  def _weights(self, removable: np.ndarray) -> tuple[UnitWeight, ...]:
    """Returns the axes of the masked weights.

    Args:
      removable: the units of the graph that become our units, in order.
    """
    numbers = np.full(self._found.count, -1)
    numbers[removable] = np.arange(removable.size)
    return tuple(
      UnitWeight(
        kernel.shape,
        tuple(
          UnitAxis(axis.axis, numbers[axis.units], axis.role != 'reads')
          for axis in axes
          if (numbers[axis.units] >= 0).any()
        ),
        kernel.is_counted,
      )
      for kernel, axes in zip(self._kernels, self._axes, strict=True)
    )

  def _flops(self, removable: np.ndarray) -> Callable[[np.ndarray], int] | None:
    """Returns what counts the FLOPs, `None` if a dimension is not known."""
    try:
      self._found.flops(self._found.all_kept())
    except ValueError:
      return None

    def count(kept: np.ndarray) -> int:
      on_graph = self._found.all_kept()
      on_graph[removable] = kept
      return self._found.flops(on_graph)

    return count


def _must_be_zero(axis: WeightAxis) -> bool:
  """Returns whether an axis is of a weight that is zero with its unit.

  Statistics and the slopes of PReLU may keep their values.
  """
  return axis.role == 'creates' or (
    axis.role == 'owns' and axis.weight in channel_companions.NAMES
  )
