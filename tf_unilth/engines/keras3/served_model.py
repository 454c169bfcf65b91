"""ServedModel for Keras 3: what exports need of a built model.

On the JAX backend, jax2tf makes a function of TensorFlow of the model. Keras's
own `ExportArchive` is not used: on TensorFlow it saves each variable twice, and
on JAX its function assigns the statistics, so TFLite cannot convert it.
"""

import functools
import itertools
import re
import string
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_unilth.engines.keras3 import backend_values
from tf_unilth.engines.served_model import Call


class ServedModel:
  """See `engines.served_model.ServedModel`.

  Args:
    model: a built Keras 3 model.
  """

  keras = keras

  def __init__(self, model: Any):
    backend_values.sync(model)
    self.model = model

  @property
  def runs_in_tensorflow(self) -> bool:
    """Whether the backend is TensorFlow."""
    return keras.backend.backend() == 'tensorflow'

  @functools.cached_property
  def variables(self) -> list[Any]:
    """The model's variables, on JAX as new ones of TensorFlow."""
    variables = self.model.variables
    if self.runs_in_tensorflow:
      return [variable.value for variable in variables]
    return [
      tf.Variable(
        backend_values.read(v), trainable=v.trainable, name=_variable_name(v)
      )
      for v in variables
    ]

  @property
  def trainable_variables(self) -> list[Any]:
    """Those that are trainable."""
    trainable = {id(variable) for variable in self.model.trainable_variables}
    pairs = zip(self.model.variables, self.variables, strict=True)
    return [ours for theirs, ours in pairs if id(theirs) in trainable]

  @property
  def resources(self) -> list[Any]:
    """The lookup tables of the model's layers."""
    attributes = itertools.chain.from_iterable(
      vars(layer).values() for layer in self.flatten_layers(self.model)
    )
    kind = tf.saved_model.experimental.TrackableResource
    return [value for value in attributes if isinstance(value, kind)]

  def values(self) -> list[np.ndarray]:
    """Returns the values of the variables."""
    return [backend_values.read(v) for v in self.model.variables]

  def signature(self) -> Any:
    """Returns the specs of the inputs."""
    network = _functional(self.model)
    if network is not None:
      return keras.tree.map_structure(_spec, network._inputs_struct)
    shapes = list((self.model._build_shapes_dict or {}).values())
    if not shapes:
      raise ValueError(
        f'model {self.model.name!r} was never called, so its inputs are '
        'unknown: it must be called once on a batch.'
      )
    if len(shapes) > 1:
      raise ValueError(
        f'the call of model {self.model.name!r} must have a single argument '
        f'with inputs, which may be nested, but has {len(shapes)}.'
      )
    return _specs_of_shapes(shapes[0], self.model.input_dtype)

  def call(self, inputs: Any) -> Any:
    """Returns the outputs in inference mode."""
    if self.runs_in_tensorflow:
      return self.model(inputs, training=False)
    return self._converted(inputs)

  @tf.autograph.experimental.do_not_convert
  def _converted(self, inputs: Any) -> Any:
    """Returns the outputs of the function that jax2tf makes of the model."""
    from jax.experimental import jax2tf  # Only here, since it is an extra.

    def compute(values: Any, inputs: Any) -> Any:
      state = list(zip(self.model.variables, values, strict=True))
      # What the call assigns stays in the scope.
      with keras.StatelessScope(state_mapping=state):
        return self.model(inputs, training=False)

    names = map(''.join, itertools.product(string.ascii_lowercase, repeat=2))
    shapes = keras.tree.map_structure(
      lambda tensor: _polymorphic(tensor.shape, names), inputs
    )
    converted = jax2tf.convert(
      compute,
      polymorphic_shapes=[
        [_polymorphic(v.shape, names) for v in self.variables],
        shapes,
      ],
      with_gradient=False,
    )
    return converted(list(self.variables), inputs)

  def compute(self, inputs: Any) -> Any:
    """Returns what the model computes in inference mode."""
    if self.runs_in_tensorflow:
      return self.call(inputs)
    arrays = keras.tree.map_structure(np.asarray, inputs)
    outputs = self.model(arrays, training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)

  def flatten_layers(self, layer: Any) -> list[Any]:
    """Returns all layers inside of a layer or model."""
    if not isinstance(layer, keras.layers.Layer):
      return []  # An operation of `keras.ops` in a functional model.
    return list(layer._flatten_layers(include_self=False))

  def is_network(self, layer: Any) -> bool:
    """Returns whether a layer is a Sequential or functional model."""
    return isinstance(layer, keras.Sequential) or _functional(layer) is not None

  def network_calls(self, layer: Any) -> list[Call] | None:
    """Returns the calls of the layers of a built network."""
    network = _functional(layer)
    if network is None:
      return None
    depths = sorted(network._nodes_by_depth, reverse=True)
    return [
      Call(node.operation, list(node.input_tensors), list(node.outputs))
      for depth in depths
      for node in network._nodes_by_depth[depth]
      if not node.is_input
    ]


def _functional(layer: Any) -> Any | None:
  """Returns a functional model, or that inside of a built Sequential model."""
  network = getattr(layer, '_functional', None) or layer
  return network if hasattr(network, '_inputs_struct') else None


def _variable_name(variable: Any) -> str:
  """Returns the path of a variable, as a name that TensorFlow accepts."""
  return re.sub(r'[^\w./-]', '_', variable.path).lstrip('_-/') or 'variable'


def _spec(tensor: Any) -> Any:
  """Returns the spec of an input of a functional model."""
  name, shape, dtype = tensor.name, tensor.shape, tensor.dtype
  if getattr(tensor, 'ragged', False):
    return tf.RaggedTensorSpec(shape, dtype, tensor.ragged_rank or 1)
  if tensor.sparse:
    return tf.SparseTensorSpec(shape, dtype)
  return tf.TensorSpec(shape, dtype, name)


def _specs_of_shapes(shapes: Any, dtype: str) -> Any:
  """Returns the specs for the recorded shapes of a subclassed model's call."""
  if isinstance(shapes, dict):
    return {n: _specs_of_shapes(shape, dtype) for n, shape in shapes.items()}
  if all(size is None or isinstance(size, int) for size in shapes):
    return tf.TensorSpec((None, *shapes[1:]), dtype)
  return type(shapes)(_specs_of_shapes(shape, dtype) for shape in shapes)


def _polymorphic(shape: Any, names: Any) -> str:
  """Returns a shape in jax2tf's notation, with a name for an unknown size.

  Args:
    shape: a `TensorShape`; an unknown first size is that of the batch.
    names: an iterator over names.
  """
  sizes = [
    str(size) if size is not None else next(names) if axis else 'batch'
    for axis, size in enumerate(shape)
  ]
  return f'({", ".join(sizes)})'
