"""Traces channels through a Sequential or functional model, also nested."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import (
  channel_layers,
  channel_operations,
  model_layers,
)
from tf_unilth.engines.tfmot.channel_call import LayerCall
from tf_unilth.engines.tfmot.channel_trace import (
  ChannelTrace,
  OpaqueError,
  Shape,
)
from tf_unilth.engines.tfmot.keras_access import PruneLowMagnitude, keras


def trace_model(model: keras.Model) -> ChannelTrace:
  """Traces the channels of a model. Those of its inputs and outputs are pinned.

  Args:
    model: a built Sequential or functional tf_keras model, wrapped or not.

  Raises:
    ValueError: the model is not built, is subclassed, or has a `call` of its
      own.
  """
  if not model_layers.runs_its_graph(model):
    raise ValueError(
      f'model {model.name!r} must be a Sequential or functional model that is '
      'built and has no call method of its own: the connections of other '
      f'models ({type(model).__name__}) are unknown.'
    )
  trace = ChannelTrace()
  inputs = [
    trace.source(_shape(tensor), 'input of the model')
    for tensor in model.inputs
  ]
  outputs = _Walk(trace, model).run(inputs)
  for output in outputs:
    trace.pin(output, 'output of the model')
  trace.pin_shared_weights()
  return trace


def inner_layer(layer: Any) -> Any:
  """Returns the layer inside of a pruning wrapper, or the layer itself.

  Args:
    layer: a layer.
  """
  return layer.layer if isinstance(layer, PruneLowMagnitude) else layer


def _shape(tensor: Any) -> Shape:
  """Returns the shape of a symbolic tensor without the batch axis."""
  return () if tensor.shape.rank is None else tuple(tensor.shape[1:])


class _Walk:
  """Follows the calls of one network.

  Args:
    trace: what collects the steps.
    network: the network.
  """

  def __init__(self, trace: ChannelTrace, network: Any):
    self._trace = trace
    self._network = network
    self._numbers: dict[int, int] = {}  # By the id of the symbolic tensor.

  def run(self, inputs: list[int]) -> list[int]:
    """Traces the network; returns the numbers of its outputs.

    Args:
      inputs: the numbers of its inputs.
    """
    self._note(self._network.inputs, inputs)
    for call in model_layers.network_calls(self._network) or ():
      numbers = [self._number(tensor) for tensor in call.inputs]
      self._note(call.outputs, self._call(call, numbers))
    return [self._number(tensor) for tensor in self._network.outputs]

  def _note(self, tensors: Any, numbers: list[int]) -> None:
    ids = map(id, tensors)
    self._numbers.update(zip(ids, numbers, strict=True))

  def _number(self, tensor: Any) -> int:
    if id(tensor) not in self._numbers:
      number = self._trace.source(_shape(tensor), 'of an unknown layer')
      self._numbers[id(tensor)] = number
    return self._numbers[id(tensor)]

  def _call(self, call: model_layers.Call, inputs: list[int]) -> list[int]:
    """Traces a call; returns the numbers of its outputs."""
    trace, layer = self._trace, inner_layer(call.layer)
    trace.layers[id(layer)] = layer
    shapes = self._shapes(call, layer, inputs)
    try:
      if type(layer) is channel_operations.OperationLayer:
        known = LayerCall(tuple(inputs), shapes[0])
        return [
          channel_operations.trace_operation(trace, layer, known, call.node)
        ]
      _check_arguments(layer, call.node)
      if model_layers.runs_its_graph(layer):
        return self._nested(layer, inputs)
      handler = channel_layers.HANDLERS.get(type(layer))
      if handler is None or len(shapes) != 1:
        raise OpaqueError('layers of this type are not traced')
      return [handler(trace, layer, LayerCall(tuple(inputs), shapes[0]))]
    except OpaqueError as error:
      return trace.opaque(layer, inputs, shapes, str(error))

  def _nested(self, network: Any, inputs: list[int]) -> list[int]:
    """Traces a network inside, whose input layers have fixed widths."""
    for i, tensor in enumerate(inputs):
      ids = self._trace.tensors[tensor]
      if ids is not None and network.inputs[i].shape[-1] is not None:
        name = f'input_shape_{i}'
        self._trace.weight(network, name, 0, ids, 'shape')
    return _Walk(self._trace, network).run(inputs)

  def _shapes(
    self, call: model_layers.Call, layer: Any, inputs: list[int]
  ) -> list[Shape]:
    """Returns the shapes of the outputs of a call, as far as they are known.

    The inputs of a nested model may be known better than its own symbolic
    tensors say.
    """
    shapes = [_shape(tensor) for tensor in call.outputs]
    if len(shapes) != 1 or None not in shapes[0]:
      return shapes
    known = [tf.TensorShape([None, *self._trace.sizes[i]]) for i in inputs]
    try:
      shape = layer.compute_output_shape(known[0] if len(known) == 1 else known)
      return [tuple(tf.TensorShape(shape)[1:])]
    except (NotImplementedError, ValueError, TypeError):
      return shapes


def _arguments(node: Any) -> Iterator[tuple[str, Any]]:
  """Yields the arguments of a call but its inputs."""
  names = iter(node.layer._call_spec.arg_names)
  next(names, None)
  for i, value in enumerate(node.call_args[1:]):
    yield next(names, str(i)), value
  first = 0 if node.call_args else 1  # The inputs may be a keyword argument.
  yield from list(node.call_kwargs.items())[first:]


def _check_arguments(layer: Any, node: Any) -> None:
  """Raises if a call has arguments that change what the layer computes."""
  for name, value in _arguments(node):
    if value is None or (name == 'training' and value is False):
      continue
    shown = f'{name}={value!r:.40}'
    if any(hasattr(part, 'type_spec') for part in tf.nest.flatten(value)):
      shown = f'a tensor as {name}'
    raise OpaqueError(f'it is called with {shown}')
