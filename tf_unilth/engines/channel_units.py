"""ChannelGroups: the units of a network that can be removed, and their cost.

NumPy alone; `engines/tfmot/channel_groups.py` finds them in a model.

A *unit* is a set of channels that can only be removed together: a channel of a
layer, with the channels that `Add` or a depthwise convolution couples to it.
Units are numbered from 0. One boolean array, `kept`, says which units stay; it
has an element for each unit. Some examples:

```
found = find_channel_groups(model)
kept = found.all_kept()
kept[found.groups[0].units[:3]] = False   # Remove three units.
found.flops(kept), found.weight_sizes(kept)

# The scores of all units: the norms of what computes them.
squares = np.zeros(found.count)
for axis in found.axes:
  if axis.role in ('creates', 'owns'):
    others = tuple(i for i in range(value.ndim) if i != axis.axis)
    np.add.at(squares, axis.units, (value**2).sum(others))

# The mask of a layer's kernel, bias, gamma or beta: `axis.units` says which
# unit each index along `axis.axis` belongs to.
mask = kept[axis.units]
```

Channels that cannot be removed have units too, which are in no group
(inputs of the model, outputs of unknown layers) or pinned in their group.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class WeightAxis:
  """One axis of a weight whose indices belong to units.

  Args:
    layer: the layer that has the weight; of a wrapped layer the inner one.
    weight: the attribute of the layer, such as `'kernel'`.
    axis: the axis, >= 0.
    units: the unit of each index of the axis. A unit may have several indices,
      as after Flatten.
    role: `'creates'` for the output axis of a kernel, which computes the
      channels; `'owns'` for what else belongs to the channels (bias, gamma,
      beta, moving statistics, depthwise kernels); `'reads'` for the input axis
      of a kernel.
  """

  layer: Any
  weight: str
  axis: int
  units: np.ndarray
  role: str


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
  """Units that the same layers compute.

  Args:
    name: the name of the first of these layers.
    layers: the names of all layers that have weights of the units, in order.
    units: the numbers of the units, ascending.
    pinned: for each unit, whether it cannot be removed.
    reasons: why, each reason once.
  """

  name: str
  layers: tuple[str, ...]
  units: np.ndarray
  pinned: np.ndarray
  reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
  """A product with a kernel, for counting operations.

  Args:
    layer: the layer.
    factor: multiply-accumulates per sample for each pair of an input channel
      and an output channel; `None` if a dimension is unknown.
    inputs: the units of the input channels; `None` counts as one channel.
    outputs: the units of the output channels; `None` counts as one channel.
  """

  layer: Any
  factor: int | None
  inputs: np.ndarray | None = None
  outputs: np.ndarray | None = None

  def macs(self, kept: np.ndarray) -> int:
    """Returns the multiply-accumulates of a sample.

    Args:
      kept: for each unit, whether it stays.

    Raises:
      ValueError: a dimension of the layer's tensors is unknown.
    """
    if self.factor is None:
      raise ValueError(
        f'the FLOPs of layer {self.layer.name!r} are unknown, since a '
        'dimension of its input is None: give the model a fixed input shape.'
      )
    sizes = [
      1 if units is None else int(kept[units].sum())
      for units in (self.inputs, self.outputs)
    ]
    return self.factor * sizes[0] * sizes[1]


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroups:
  """The units of a model; see the docstring of this module.

  Args:
    groups: the groups of units that layers compute, in the order of the layers.
      A group may be pinned, wholly or in part.
    axes: all axes of weights whose indices belong to units.
    shapes: as `axes`, for layers whose configuration has a width: `weight` is
      `'target_shape'` of a Reshape layer, or `'input_shape_i'` for the input i
      of a nested model.
    products: what counts as operations.
    count: the number of units.
    layers: all layers in the order in which they are called, each once; of
      wrapped layers the inner ones.
  """

  groups: tuple[ChannelGroup, ...]
  axes: tuple[WeightAxis, ...]
  shapes: tuple[WeightAxis, ...]
  products: tuple[Product, ...]
  count: int
  layers: tuple[Any, ...]

  def all_kept(self) -> np.ndarray:
    """Returns `kept` of the whole model: all units stay."""
    return np.ones(self.count, bool)

  @property
  def removable(self) -> np.ndarray:
    """For each unit, whether it can be removed.

    Each layer must keep a unit: see `creators`.
    """
    result = np.zeros(self.count, bool)
    for group in self.groups:
      result[group.units[~group.pinned]] = True
    return result

  @property
  def creators(self) -> tuple[WeightAxis, ...]:
    """The output axes of kernels. Each must keep at least one unit."""
    return tuple(axis for axis in self.axes if axis.role == 'creates')

  def layer_axes(self, layer: Any) -> tuple[WeightAxis, ...]:
    """Returns the axes of one layer's weights.

    Args:
      layer: the layer; of a wrapped layer the inner one.
    """
    return tuple(axis for axis in self.axes if axis.layer is layer)

  def weight_sizes(self, kept: np.ndarray) -> dict[tuple[Any, str], int]:
    """Returns the sizes of the weights that have units.

    Args:
      kept: for each unit, whether it stays.

    Returns:
      The number of elements for each (layer, attribute with the weight).
    """
    shapes: dict[tuple[Any, str], list[int]] = {}
    for axis in self.axes:
      key = axis.layer, axis.weight
      if key not in shapes:
        shapes[key] = list(getattr(axis.layer, axis.weight).shape)
      shapes[key][axis.axis] = int(kept[axis.units].sum())
    return {key: int(np.prod(shape)) for key, shape in shapes.items()}

  def layer_flops(self, kept: np.ndarray) -> dict[Any, int]:
    """Returns the FLOPs of each layer that has some, as `flops` counts them.

    Args:
      kept: for each unit, whether it stays.

    Raises:
      ValueError: a dimension of a tensor is unknown.
    """
    flops: dict[Any, int] = {}
    for product in self.products:
      macs = product.macs(kept)
      flops[product.layer] = flops.get(product.layer, 0) + 2 * macs
    return flops

  def flops(self, kept: np.ndarray) -> int:
    """Returns the floating-point operations for one sample.

    That is two for each multiply-accumulate of a product with a kernel: Dense,
    convolutions, recurrent and attention layers. Biases, activations, pooling
    and normalization do not count. For a layer that the tracer does not know,
    each element of its matrices counts once for each position of its input or
    output, whichever has more.

    Args:
      kept: for each unit, whether it stays.

    Raises:
      ValueError: a dimension of a tensor is unknown.
    """
    return sum(self.layer_flops(kept).values())
