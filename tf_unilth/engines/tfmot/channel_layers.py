"""What each known layer type does to channels: the table to extend.

A function takes the trace, the layer and its call, adds steps to the trace and
returns the number of the output tensor. It raises `OpaqueError`, before it has
changed the trace, where it does not know what the layer does. Only the exact
types of the table are known: a subclass may compute something else.
"""

from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import channel_activations, channel_kernels
from tf_unilth.engines.tfmot.channel_call import (
  Handler,
  LayerCall,
  check_channels_last,
  need,
  single_input,
)
from tf_unilth.engines.tfmot.channel_trace import ChannelTrace
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers


def _batch_normalization(
  trace: ChannelTrace, layer: Any, call: LayerCall
) -> int:
  ids = single_input(trace, call)
  need(
    list(np.atleast_1d(layer.axis)) == [len(call.shape)],
    'it does not normalize the last axis',
  )
  ordinary = not getattr(layer, 'renorm', False) and (
    getattr(layer, 'virtual_batch_size', None) is None
    and getattr(layer, 'adjustment', None) is None
  )
  need(ordinary, 'renorm and virtual batches are not traced')
  for name in ('gamma', 'beta', 'moving_mean', 'moving_variance'):
    if getattr(layer, name) is not None:
      trace.weight(layer, name, 0, ids, 'owns')
  return trace.step('scale', layer, call.inputs, ids, call.shape)


def _prelu(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  need(layer.alpha.shape[-1] == len(ids), 'its alpha has no channels')
  trace.weight(layer, 'alpha', -1, ids, 'owns')
  return trace.step('prelu', layer, call.inputs, ids, call.shape)


def _map(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  function = channel_activations.elementwise(layer)
  need(function is not None, 'its function is not known to be elementwise')
  return trace.step(
    'map', layer, call.inputs, ids, call.shape, function=function
  )


def _rescaling(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  scalar = np.ndim(layer.scale) == np.ndim(layer.offset) == 0
  need(scalar, 'it scales each channel by a value of its own')
  return trace.step(
    'map', layer, call.inputs, ids, call.shape, function=layer.call
  )


def _same(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  """Pooling, dropout in inference, cropping: constants stay as they are."""
  ids = single_input(trace, call)
  check_channels_last(layer)
  return trace.step('map', layer, call.inputs, ids, call.shape)


def _zero_padding(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  check_channels_last(layer)
  return trace.step('map', layer, call.inputs, ids, call.shape, pads=True)


def _up_sampling(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  check_channels_last(layer)
  # Cubic filters are not exact on constants.
  exact = getattr(layer, 'interpolation', 'nearest') in ('nearest', 'bilinear')
  return trace.step('map', layer, call.inputs, ids, call.shape, pads=not exact)


def _permute(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  need(layer.dims[-1] == len(layer.dims), 'it moves the last axis')
  return trace.step('map', layer, call.inputs, ids, call.shape)


def _flatten(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  check_channels_last(layer)
  times = trace.positions(call.inputs[0])
  need(times, 'a dimension of its input is None')
  assert times is not None
  tiled = np.tile(ids, times)
  return trace.step(
    'tile', layer, call.inputs, tiled, (len(tiled),), times=times
  )


def _reshape(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = single_input(trace, call)
  times = trace.positions(call.inputs[0])
  need(times and None not in call.shape, 'a dimension of its input is None')
  assert times is not None
  if call.shape[-1] == len(ids):
    kind, outputs = 'map', ids
  else:
    need(len(call.shape) == 1, 'it splits or joins channels')
    kind, outputs = 'tile', np.tile(ids, times)
  if layer.target_shape[-1] != -1:
    trace.weight(layer, 'target_shape', 0, outputs, 'shape')
  times = times if kind == 'tile' else 1
  return trace.step(kind, layer, call.inputs, outputs, call.shape, times=times)


def merge(kind: str) -> Handler:
  """Returns what traces a layer that joins tensors, such as `Add`."""

  def handler(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
    ids = [trace.channels(tensor) for tensor in call.inputs]
    width = max(map(len, ids))
    first = next(part for part in ids if len(part) == width)
    for tensor, part in zip(call.inputs, ids):
      if len(part) == width:
        trace.ids.unite(first, part)
      else:  # A single channel for all channels of the others.
        trace.pin(tensor, f'broadcast by {layer.name}')
    return trace.step(kind, layer, call.inputs, first, call.shape)

  return handler


def _concatenate(trace: ChannelTrace, layer: Any, call: LayerCall) -> int:
  ids = [trace.channels(tensor) for tensor in call.inputs]
  rank = len(call.shape)
  if layer.axis % (rank + 1) == rank:
    joined = np.concatenate(ids)
    return trace.step('concatenate', layer, call.inputs, joined, call.shape)
  need(layer.axis % (rank + 1), 'it joins samples')
  # A channel is constant after it if it has the same constant in each part.
  for part in ids[1:]:
    trace.ids.unite(ids[0], part)
  return trace.step('join', layer, call.inputs, ids[0], call.shape)


def _families(names: str) -> list[type]:
  """Returns Keras's layers of some names, for 1, 2 and 3 dimensions."""
  return [
    getattr(layers, f'{name}{dimensions}D')
    for name in names.split()
    for dimensions in (1, 2, 3)
    if hasattr(layers, f'{name}{dimensions}D')
  ]


_POOLING = 'MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling'
_SAME = (
  *_families(f'{_POOLING} SpatialDropout Cropping'),
  *(layers.Dropout, layers.GaussianNoise, layers.GaussianDropout),
  *(layers.AlphaDropout, layers.ActivityRegularization, layers.RepeatVector),
  layers.Identity,
)

HANDLERS: dict[type, Handler] = {
  layers.Dense: channel_kernels.dense,
  **dict.fromkeys(_families('Conv'), channel_kernels.conv),
  layers.Conv1DTranspose: channel_kernels.conv_transpose,
  layers.Conv2DTranspose: channel_kernels.conv_transpose,
  layers.Conv3DTranspose: channel_kernels.conv_transpose,
  layers.DepthwiseConv1D: channel_kernels.depthwise,
  layers.DepthwiseConv2D: channel_kernels.depthwise,
  layers.SeparableConv1D: channel_kernels.separable,
  layers.SeparableConv2D: channel_kernels.separable,
  layers.Embedding: channel_kernels.embedding,
  layers.BatchNormalization: _batch_normalization,
  layers.Activation: _map,
  layers.ReLU: _map,
  layers.LeakyReLU: _map,
  layers.ELU: _map,
  layers.ThresholdedReLU: _map,
  layers.PReLU: _prelu,
  layers.Rescaling: _rescaling,
  **dict.fromkeys(_SAME, _same),
  **dict.fromkeys(_families('ZeroPadding'), _zero_padding),
  **dict.fromkeys(_families('UpSampling'), _up_sampling),
  layers.Permute: _permute,
  layers.Flatten: _flatten,
  layers.Reshape: _reshape,
  layers.Add: merge('add'),
  layers.Subtract: merge('subtract'),
  layers.Multiply: merge('multiply'),
  layers.Average: merge('average'),
  layers.Maximum: merge('maximum'),
  layers.Minimum: merge('minimum'),
  layers.Concatenate: _concatenate,
}
