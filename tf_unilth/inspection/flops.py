"""Floating-point operations of a sample: of a Keras model, of a SavedModel.

Two for each multiply-accumulate of a product with weights: Dense layers,
convolutions, recurrent and attention layers. Biases, activations, pooling and
normalization do not count.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
  convert_variables_to_constants_v2,
)

from tf_unilth.engines import which_keras
from tf_unilth.engines.tfmot.channel_groups import find_channel_groups
from tf_unilth.export.model_inputs import ModelInputs

_CONVOLUTIONS = ('Conv2D', 'Conv3D')
_PRODUCTS = (
  *('MatMul', 'BatchMatMulV2', 'Einsum', *_CONVOLUTIONS),
  *('DepthwiseConv2dNative', 'Conv2DBackpropInput', 'Conv3DBackpropInputV2'),
)
_UNKNOWN = {
  'While': 'loops, as in LSTM and GRU',
  'StatelessWhile': 'loops, as in LSTM and GRU',
  'XlaCallModule': 'a compiled program, as of a model on JAX',
}


def model_flops(model: Any) -> str:
  """Returns the FLOPs of a sample in words, or why they are unknown.

  Args:
    model: a built model of either Keras.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,))]
  >>> model_flops(keras.Sequential(layers))
  '12'
  """
  if which_keras.is_keras_3(model):
    inputs = ModelInputs(model)
    if not inputs.served.runs_in_tensorflow:
      return 'unknown: they are counted on the TensorFlow backend'
    return _traced_flops(lambda **given: inputs.call(given), inputs.specs)
  try:
    found = find_channel_groups(model)
    return f'{found.flops(found.all_kept()):,}'
  except ValueError as error:
    return f'unknown: {str(error).splitlines()[0]}'


def saved_model_flops(loaded: Any) -> str:
  """Returns the FLOPs of a sample in words, or why they are unknown.

  Args:
    loaded: what `tf.saved_model.load` returns.
  """
  serve = loaded.signatures.get('serving_default')
  if serve is None:
    return 'unknown: it has no signature serving_default'
  _, specs = serve.structured_input_signature
  return _traced_flops(serve, specs)


def _traced_flops(call: Callable[..., Any], specs: Mapping[str, Any]) -> str:
  """Returns the FLOPs of a call with one sample, in words."""
  one_sample = {}
  for name, spec in specs.items():
    rank = getattr(spec, 'shape', tf.TensorShape(None)).rank
    if not isinstance(spec, tf.TensorSpec) or not rank:
      return f'unknown: it has no batches of {name}'
    one_sample[name] = tf.TensorSpec(
      [spec.shape[0] or 1, *spec.shape[1:]], spec.dtype, name
    )
  batch = next(iter(one_sample.values())).shape[0] if one_sample else 1

  @tf.function(autograph=False)
  def traced(**inputs: tf.Tensor) -> Any:
    return call(**inputs)

  try:
    frozen = convert_variables_to_constants_v2(
      traced.get_concrete_function(**one_sample), lower_control_flow=False
    )
    return _graph_flops(frozen.graph, batch)
  # A model may have any operation, and TensorFlow raises errors of many
  # classes; what else is told of the file must not depend on it.
  except Exception as error:
    return f'unknown: {(str(error).splitlines() or [""])[0][:100]}'


def _graph_flops(graph: Any, batch: int) -> str:
  total = 0
  constants: dict[str, bool] = {}
  for operation in graph.get_operations():  # In topological order.
    constants[operation.name] = operation.type == 'Const' or (
      bool(operation.inputs)
      and all(constants.get(x.op.name, False) for x in operation.inputs)
    )
    if operation.type in _UNKNOWN:
      return f'unknown: it has {_UNKNOWN[operation.type]}'
    if operation.type not in _PRODUCTS or constants[operation.name]:
      continue
    if not any(constants.get(x.op.name, False) for x in operation.inputs):
      continue  # A product without weights, as of attention scores.
    macs = _macs(operation)
    if macs is None:
      return f'unknown: the size of {operation.name} varies'
    total += 2 * macs
  return f'{total // batch:,}'


def _macs(operation: Any) -> int | None:
  """Returns the multiply-accumulates of a product; `None` if a size varies."""
  shapes = [x.shape for x in (*operation.inputs, operation.outputs[0])]
  if not all(shape.is_fully_defined() for shape in shapes):
    return None
  first, second, *_, output = (shape.as_list() for shape in shapes)
  if operation.type in _CONVOLUTIONS:
    return math.prod(output) * math.prod(second[:-1])
  if operation.type == 'DepthwiseConv2dNative':
    return math.prod(output) * math.prod(second[:2])
  if operation.type.endswith(('Input', 'InputV2')):  # Transposed convolution.
    data = operation.inputs[2].shape.as_list()
    return math.prod(data) * math.prod(second[:-1])
  if operation.type == 'Einsum':
    return _einsum_macs(operation, first, second)
  transposed = operation.get_attr(
    'transpose_a' if operation.type == 'MatMul' else 'adj_x'
  )
  return math.prod(output) * first[-2 if transposed else -1]


def _einsum_macs(
  operation: Any, first: list[int], second: list[int]
) -> int | None:
  equation = operation.get_attr('equation').decode()
  terms = equation.partition('->')[0].split(',')
  sizes: dict[str, int] = {}
  for term, shape in zip(terms, (first, second)):
    begin, dots, end = term.partition('...')
    if dots:  # Other axes, of the data alone.
      middle = shape[len(begin) : len(shape) - len(end)]
      sizes['...'] = max(sizes.get('...', 1), math.prod(middle))
    sizes |= dict(zip(begin, shape))
    if end:
      sizes |= dict(zip(end, shape[-len(end) :]))
  return math.prod(sizes.values())
