"""Traces TensorFlow functions in a functional model, such as `x + y`."""

import functools
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import channel_activations, channel_layers
from tf_unilth.engines.tfmot.channel_call import LayerCall
from tf_unilth.engines.tfmot.channel_trace import ChannelTrace, OpaqueError
from tf_unilth.engines.tfmot.keras_access import keras

# Keras makes a layer of each call of a TensorFlow function.
OperationLayer = keras.src.layers.core.tf_op_layer.TFOpLambda

_BINARY = {
  '__operators__.add': 'add',
  'math.add': 'add',
  'math.subtract': 'subtract',
  'math.multiply': 'multiply',
  'math.maximum': 'maximum',
  'math.minimum': 'minimum',
}


def trace_operation(
  trace: ChannelTrace, layer: Any, call: LayerCall, node: Any
) -> int:
  """Traces the call of a TensorFlow function; returns its output tensor.

  Args:
    trace: what collects the steps.
    layer: the layer that Keras made of the function.
    call: the tensors of the call.
    node: Keras's node of the call.

  Raises:
    OpaqueError: what the function does to channels is unknown.
  """
  keywords = dict(node.call_kwargs)
  keywords.pop('name', None)
  operands = [*node.call_args, *keywords.values()]
  kind = _BINARY.get(layer.symbol)
  if kind is not None and len(operands) == 2:
    return _binary(trace, layer, call, operands, kind)
  function = channel_activations.elementwise(layer.function)
  if function is None or len(operands) != 1 or len(call.inputs) != 1:
    raise OpaqueError(f'tf.{layer.symbol} is not traced')
  return _map(trace, layer, call, function)


def _binary(
  trace: ChannelTrace,
  layer: Any,
  call: LayerCall,
  operands: list[Any],
  kind: str,
) -> int:
  """Traces a function of two tensors, or of a tensor and a number."""
  if len(call.inputs) == 2:
    ranks = {len(trace.sizes[tensor]) for tensor in call.inputs}
    if len(ranks) > 1:
      raise OpaqueError('it broadcasts tensors of different ranks')
    return channel_layers.merge(kind)(trace, layer, call)
  if not any(_is_number(operand) for operand in operands):
    raise OpaqueError(f'tf.{layer.symbol} of a constant tensor is not traced')
  function = functools.partial(_with_number, layer.function, operands)
  return _map(trace, layer, call, function)


def _is_number(value: Any) -> bool:
  if tf.is_tensor(value):
    return False
  return isinstance(value, numbers.Real) or np.shape(value) == ()


def _with_number(
  function: Callable[..., Any], operands: list[Any], values: Any
) -> Any:
  """Applies a function of two operands, one of which is a number."""
  return function(*(o if _is_number(o) else values for o in operands))


def _map(
  trace: ChannelTrace,
  layer: Any,
  call: LayerCall,
  function: Callable[[Any], Any],
) -> int:
  ids = trace.channels(call.inputs[0])
  return trace.step(
    'map', layer, call.inputs, ids, call.shape, function=function
  )
