"""ChannelTrace: what the layers of a network do to channels, step by step.

`channel_layers.py` has a function for each known layer type, which calls the
methods here. All else is opaque: it pins the channels that it reads and makes.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_unilth.engines.channel_ids import ChannelIds
from tf_unilth.engines.tfmot import prunable_weights

Shape = tuple[int | None, ...]


class OpaqueError(Exception):
  """A layer's effect on channels is unknown; the text says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
  """One operation on channels, the last axis of its tensors.

  Args:
    kind: `'create'` (the product with a kernel), `'depthwise'`, `'scale'`
      (batch normalization), `'prelu'`, `'map'` (the same function of each
      value), `'add'`, `'subtract'`, `'multiply'`, `'average'`, `'maximum'`,
      `'minimum'`, `'concatenate'` (of channels), `'join'` (of positions),
      `'tile'` (Flatten) or `'opaque'`.
    layer: the layer; of a wrapped layer the inner one.
    inputs: the numbers of the input tensors.
    output: the number of the output tensor.
    kernel: the attribute of the layer with the kernel.
    in_axis: the axis of the kernel's input channels; `None` for embeddings.
    out_axis: the axis of the kernel's output channels.
    bias: the attribute with the bias; `None` if this step adds none.
    pads: whether zeros, beside the input, contribute to some positions only. A
      constant other than zero is then no constant afterwards.
    function: the function of a `'map'`, on arrays; `None` for the identity.
    times: how often `'tile'` repeats the channels.
  """

  kind: str
  layer: Any
  inputs: tuple[int, ...]
  output: int
  kernel: str = ''
  in_axis: int | None = None
  out_axis: int = -1
  bias: str | None = None
  pads: bool = False
  function: Callable[[Any], Any] | None = None
  times: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class TracedAxis:
  """As `WeightAxis`, with ids in place of units."""

  layer: Any
  weight: str
  axis: int
  ids: np.ndarray
  role: str


@dataclasses.dataclass(frozen=True, eq=False)
class TracedProduct:
  """As `Product`, with ids in place of units."""

  layer: Any
  factor: int | None
  inputs: np.ndarray | None = None
  outputs: np.ndarray | None = None


class ChannelTrace:
  """Collects steps, and the channels of tensors and weights.

  Tensors are numbered from 0. A tensor without channels, such as one of unknown
  width, has the ids `None`.
  """

  def __init__(self) -> None:
    self.ids = ChannelIds()
    self.steps: list[Step] = []
    self.products: list[TracedProduct] = []
    self.layers: dict[int, Any] = {}
    # The layers that are not traced, and why, by their id.
    self.opaque_layers: dict[int, tuple[Any, str]] = {}
    self.tensors: list[np.ndarray | None] = []
    self.sizes: list[Shape] = []  # Of all axes of each tensor but the batch.
    self.axes: dict[tuple[int, str, int], TracedAxis] = {}

  def tensor(self, ids: np.ndarray | None, shape: Shape) -> int:
    """Returns the number of a new tensor.

    Args:
      ids: the ids of its channels.
      shape: its shape without the batch axis.
    """
    self.tensors.append(ids)
    self.sizes.append(shape)
    return len(self.tensors) - 1

  def source(self, shape: Shape, reason: str) -> int:
    """Returns a new tensor whose channels are pinned.

    Args:
      shape: its shape without the batch axis.
      reason: why they are pinned.
    """
    ids = None
    if shape and shape[-1] is not None:
      ids = self.ids.create(shape[-1])
      self.ids.pin(ids, reason)
    return self.tensor(ids, shape)

  def channels(self, tensor: int) -> np.ndarray:
    """Returns the ids of a tensor's channels.

    Args:
      tensor: the number of the tensor.

    Raises:
      OpaqueError: the tensor has no channels.
    """
    ids = self.tensors[tensor]
    if ids is None:
      raise OpaqueError('the number of its input channels is unknown')
    return ids

  def positions(self, tensor: int) -> int | None:
    """Returns the number of positions of a tensor, such as its pixels."""
    sizes = self.sizes[tensor][:-1]
    return None if None in sizes else math.prod(s for s in sizes if s)

  def step(
    self,
    kind: str,
    layer: Any,
    inputs: Sequence[int],
    ids: np.ndarray | None,
    shape: Shape,
    **fields: Any,
  ) -> int:
    """Adds a step; returns the number of its output tensor.

    Args:
      kind: as in `Step`.
      layer: the layer.
      inputs: the numbers of the input tensors.
      ids: the ids of the output's channels.
      shape: the shape of the output without the batch axis.
      **fields: other arguments of `Step`.
    """
    output = self.tensor(ids, shape)
    self.steps.append(Step(kind, layer, tuple(inputs), output, **fields))
    return output

  def weight(
    self, layer: Any, name: str, axis: int, ids: np.ndarray, role: str
  ) -> None:
    """Notes the channels of a weight's axis.

    A layer that is called again unites the channels of its calls.

    Args:
      layer: the layer.
      name: the attribute with the weight.
      axis: the axis.
      ids: the id of each index.
      role: as in `WeightAxis`, or `'shape'`.
    """
    if role != 'shape':
      axis %= len(getattr(layer, name).shape)
    key = id(layer), name, axis
    if key in self.axes:
      self.ids.unite(self.axes[key].ids, ids)
    else:
      self.axes[key] = TracedAxis(layer, name, axis, ids, role)

  def created(self, layer: Any, name: str, axis: int) -> np.ndarray:
    """Returns the ids of the channels that a kernel computes, at any call.

    Args:
      layer: the layer.
      name: the attribute with the kernel.
      axis: the kernel's output axis.
    """
    shape = getattr(layer, name).shape
    key = id(layer), name, axis % len(shape)
    if key not in self.axes:
      ids = self.ids.create(shape[axis])
      self.weight(layer, name, axis, ids, 'creates')
    return self.axes[key].ids

  def opaque(
    self,
    layer: Any,
    inputs: Sequence[int],
    shapes: Sequence[Shape],
    reason: str,
  ) -> list[int]:
    """Adds a step that pins what it reads and makes; returns its outputs.

    Args:
      layer: the layer.
      inputs: the numbers of the input tensors.
      shapes: the shapes of the outputs without the batch axis.
      reason: why the layer is opaque.
    """
    self.opaque_layers.setdefault(id(layer), (layer, reason))
    reason = f'{layer.name} ({type(layer).__name__}): {reason}'
    for tensor in inputs:
      self.pin(tensor, f'read by {reason}')
    outputs = [self.source(shape, f'output of {reason}') for shape in shapes]
    for output in outputs:
      self.steps.append(Step('opaque', layer, tuple(inputs), output))
    self.products.append(
      TracedProduct(layer, self._opaque_macs(layer, [*inputs, *outputs]))
    )
    return outputs

  def pin(self, tensor: int, reason: str) -> None:
    """Pins the channels of a tensor.

    Args:
      tensor: the number of the tensor.
      reason: why.
    """
    ids = self.tensors[tensor]
    if ids is not None:
      self.ids.pin(ids, reason)

  def pin_shared_weights(self) -> None:
    """Pins the channels of weights that an opaque layer uses too."""
    unwrap = prunable_weights.unwrap_autocast
    opaque = {
      id(unwrap(weight)): layer
      for layer, _ in self.opaque_layers.values()
      for weight in layer.weights
    }
    for axis in self.axes.values():
      weight = getattr(axis.layer, axis.weight, None)
      layer = opaque.get(id(unwrap(weight)))
      if layer is not None:
        kind = type(layer).__name__
        self.ids.pin(axis.ids, f'weights used by {layer.name} ({kind})')

  def _opaque_macs(self, layer: Any, tensors: Sequence[int]) -> int | None:
    """Returns an estimate: each matrix element once for each position."""
    sizes = [math.prod(w.shape) for w in layer.weights if len(w.shape) > 1]
    if not sizes:
      return 0
    positions = [self.positions(tensor) for tensor in tensors]
    known = [number for number in positions if number is not None]
    return None if len(known) < len(positions) else sum(sizes) * max(known)
