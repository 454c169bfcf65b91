"""What layers with kernels do to channels: functions for `channel_layers.py`.

Each takes the trace, the layer and its call, and returns the output tensor.
"""

import math
from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import channel_activations
from tf_unilth.engines.tfmot.channel_call import (
  LayerCall,
  check_channels_last,
  need,
  single_input,
)
from tf_unilth.engines.tfmot.channel_trace import (
  ChannelTrace,
  Shape,
  TracedProduct,
)


def _activate(
  trace: ChannelTrace, layer: Any, tensor: int, activation: Any
) -> int:
  """Adds the activation of a layer with a kernel."""
  if channel_activations.is_linear(activation):
    return tensor
  ids, shape = trace.tensors[tensor], trace.sizes[tensor]
  function = channel_activations.elementwise(activation)
  if function is not None:
    return trace.step('map', layer, [tensor], ids, shape, function=function)
  name = getattr(activation, '__name__', type(activation).__name__)
  trace.pin(tensor, f'{layer.name}: activation {name!r} is not elementwise')
  return trace.step('opaque', layer, [tensor], ids, shape)


def _create(
  trace: ChannelTrace,
  layer: Any,
  call: LayerCall,
  kernel: str = 'kernel',
  axes: tuple[int, int] = (-2, -1),
  positions: int | None = None,
  pads: bool = False,
) -> int:
  """Adds the product with a kernel, its bias and its activation."""
  ids = trace.channels(call.inputs[0])
  in_axis, out_axis = axes
  shape = getattr(layer, kernel).shape
  window = math.prod(shape) // (shape[in_axis] * shape[out_axis])
  trace.weight(layer, kernel, in_axis, ids, 'reads')
  outputs = trace.created(layer, kernel, out_axis)
  if layer.use_bias:
    trace.weight(layer, 'bias', 0, outputs, 'owns')
  factor = None if positions is None else positions * window
  trace.products.append(TracedProduct(layer, factor, ids, outputs))
  result = trace.step(
    'create',
    layer,
    call.inputs,
    outputs,
    call.shape,
    kernel=kernel,
    in_axis=in_axis,
    out_axis=out_axis,
    bias='bias',
    pads=pads,
  )
  return _activate(trace, layer, result, layer.activation)


def _positions(shape: Shape) -> int | None:
  return None if None in shape[:-1] else math.prod(s for s in shape[:-1] if s)


def dense(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces a Dense layer, on inputs of any rank."""
  single_input(trace, call)
  return _create(trace, layer, call, positions=_positions(call.shape))


def _pads(layer: Any) -> bool:
  return layer.padding != 'valid' and math.prod(layer.kernel_size) > 1


def conv(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces an ordinary convolution in 1, 2 or 3 dimensions."""
  single_input(trace, call)
  check_channels_last(layer)
  need(layer.groups == 1, 'grouped convolutions are not traced')
  positions = _positions(call.shape)
  return _create(trace, layer, call, positions=positions, pads=_pads(layer))


def conv_transpose(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces a transposed convolution in 1, 2 or 3 dimensions."""
  single_input(trace, call)
  check_channels_last(layer)
  need(layer.groups == 1, 'grouped convolutions are not traced')
  # Each position of the input contributes to a window of the output, and
  # positions of the output have windows of different sizes.
  pads = math.prod(layer.kernel_size) * math.prod(layer.strides) > 1
  positions = trace.positions(call.inputs[0])
  return _create(
    trace, layer, call, axes=(-1, -2), positions=positions, pads=pads
  )


def _depthwise_step(
  trace: ChannelTrace, layer: Any, call: LayerCall, bias: str | None
) -> int:
  ids = trace.channels(call.inputs[0])
  shape = layer.depthwise_kernel.shape
  outputs = np.repeat(ids, shape[-1])
  trace.weight(layer, 'depthwise_kernel', -2, ids, 'owns')
  if bias:
    trace.weight(layer, bias, 0, outputs, 'owns')
  positions, window = _positions(call.shape), math.prod(shape[:-2])
  factor = None if positions is None else positions * window
  trace.products.append(TracedProduct(layer, factor, None, outputs))
  return trace.step(
    'depthwise',
    layer,
    call.inputs,
    outputs,
    (*call.shape[:-1], len(outputs)),
    kernel='depthwise_kernel',
    bias=bias,
    pads=_pads(layer),
  )


def depthwise(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces a depthwise convolution: each channel makes some of its own."""
  single_input(trace, call)
  check_channels_last(layer)
  bias = 'bias' if layer.use_bias else None
  result = _depthwise_step(trace, layer, call, bias)
  return _activate(trace, layer, result, layer.activation)


def separable(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces a separable convolution as a depthwise one and a Dense layer."""
  single_input(trace, call)
  check_channels_last(layer)
  between = _depthwise_step(trace, layer, call, None)
  call = LayerCall((between,), call.shape)
  positions = _positions(call.shape)
  return _create(trace, layer, call, 'pointwise_kernel', positions=positions)


def embedding(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Traces an Embedding layer, whose inputs are no channels but ids."""
  need(len(call.inputs) == 1, 'it is called on several tensors')
  trace.pin(call.inputs[0], f'ids for {layer.name}')
  outputs = trace.created(layer, 'embeddings', -1)
  return trace.step(
    'create', layer, call.inputs, outputs, call.shape, kernel='embeddings'
  )
