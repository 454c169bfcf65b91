"""The kernels of each layer type: the table to extend for a new one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines import kernel_names as naming
from tf_unilth.engines.tfmot import keras_access, model_layers
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

# The attributes with the kernels of a layer, by its class or its nearest
# ancestor. Depthwise kernels are small and important; tfmot leaves them dense
# too.
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
  layers.Dense: ('kernel',),
  layers.EinsumDense: ('kernel',),
  layers.Conv1D: ('kernel',),
  layers.Conv2D: ('kernel',),
  layers.Conv3D: ('kernel',),
  layers.Conv1DTranspose: ('kernel',),
  layers.Conv2DTranspose: ('kernel',),
  layers.Conv3DTranspose: ('kernel',),
  layers.DepthwiseConv1D: (),
  layers.DepthwiseConv2D: (),
  layers.SeparableConv1D: ('pointwise_kernel',),
  layers.SeparableConv2D: ('pointwise_kernel',),
  layers.LocallyConnected1D: ('kernel',),
  layers.LocallyConnected2D: ('kernel',),
  layers.Embedding: ('embeddings',),
  layers.SimpleRNNCell: ('kernel', 'recurrent_kernel'),
  layers.GRUCell: ('kernel', 'recurrent_kernel'),
  layers.LSTMCell: ('kernel', 'recurrent_kernel'),
}
_ATTENTION = ('_query_dense', '_key_dense', '_value_dense', '_output_dense')
# Cell wrappers of Keras and TensorFlow (`tf.nn`), by name because neither
# exports their base classes.
_CELL_WRAPPERS = ('_RNNCellWrapper', '_RNNCellWrapperV2')

Getter = Callable[[], list[Any]]


def is_prunable(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer, built or unbuilt, has kernels to prune.

  Args:
    layer: the layer. Layers inside count if their kernels are its own.

  >>> is_prunable(keras.layers.Bidirectional(keras.layers.LSTM(4)))
  True
  >>> is_prunable(keras.layers.Rescaling(1 / 255))
  False
  """
  return bool(kernel_layers(layer))


def kernel_layers(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layers with a layer's kernels: itself or layers inside.

  Args:
    layer: the layer, built or unbuilt.

  >>> layer = keras.layers.RNN([keras.layers.LSTMCell(4)])
  >>> [type(owner).__name__ for owner in kernel_layers(layer)]
  ['LSTMCell']
  """
  return [owner for owner, _ in _getters(layer)]


def declares_kernels(layer: Any) -> bool:
  """Returns whether a user gave a layer a `get_prunable_weights` method.

  Args:
    layer: the layer, built or unbuilt.

  >>> layer = keras.layers.Dense(2)
  >>> declares_kernels(layer)
  False
  >>> layer.get_prunable_weights = lambda: []
  >>> declares_kernels(layer)
  True
  """
  if hasattr(type(layer), 'get_prunable_weights'):
    return True
  method = getattr(layer, 'get_prunable_weights', None)
  # This library's wrapper and tfmot's add a method to layers that they support.
  return method is not None and not (
    getattr(method, 'func', None) is prunable_weights
    or getattr(method, '__module__', '').startswith('tensorflow_model_')
  )


def declares_variables(layer: Any) -> bool:
  """Returns whether a layer declares kernels, and all of them are variables.

  False if its `get_prunable_weights` returns computed tensors. True if it
  returns an empty list.

  Args:
    layer: the layer. An unbuilt layer is assumed to return variables.
  """
  if not declares_kernels(layer):
    return False
  return not layer.built or all(map(_is_variable, _kernel_values(layer)))


def prunable_weights(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels of a built layer, without biases and statistics.

  Under a mixed precision policy, these are the float32 variables, not Keras's
  autocast variables that read as half precision. Computed tensors, such as a
  normalized kernel, are excluded.

  Args:
    layer: the built layer.
  """
  return [
    unwrap_autocast(weight)
    for weight in _kernel_values(layer)
    if _is_variable(weight)
  ]


def _kernel_values(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels of a built layer: variables or computed tensors."""
  return [weight for _, getter in _getters(layer) for weight in getter()]


def _is_variable(weight: Any) -> bool:
  return isinstance(weight, tf.Variable)


def unwrap_autocast(weight: Any) -> Any:
  """Returns the variable behind a Keras autocast variable.

  Args:
    weight: an autocast variable, or anything else, which is returned as it is.
  """
  return getattr(weight, '_variable', weight)


def model_kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
  """Yields the kernels of a model, wrapped or not, each with its name.

  The order is that of the layers. Unbuilt layers are skipped.

  Args:
    model: the model.
  """
  seen = set()  # The layers inside a Bidirectional layer are listed too.
  for layer in model_layers.flatten_layers(model):
    if isinstance(layer, keras_access.PruneLowMagnitude):
      continue  # The inner layer is listed too.
    weights = prunable_weights(layer) if layer.built else []
    names = kernel_names(layer.name, weights)
    for name, weight in zip(names, weights, strict=True):
      if weight.ref() not in seen:
        seen.add(weight.ref())
        yield name, weight


def kernel_names(layer_name: str, weights: Sequence[Any]) -> list[str]:
  """Returns distinct names for the kernels of a layer.

  Args:
    layer_name: the name of the layer, which alone names a single kernel.
    weights: the kernels.
  """
  paths = [weight.name.split(':')[0] for weight in weights]
  return naming.kernel_names(layer_name, paths)


def build_creates_kernels(layer: keras.layers.Layer) -> bool:
  """Returns whether `build` creates the kernels, not only the first call.

  The first call may be needed to create kernels of layers inside.

  Args:
    layer: the layer, built or unbuilt.
  """
  if isinstance(layer, layers.MultiHeadAttention):
    return layer._built_from_signature
  return not hasattr(type(layer), 'get_prunable_weights')


def kernels_exist(layer: keras.layers.Layer) -> bool:
  """Returns whether the kernels exist at the end of `build`.

  A loaded layer counts as built even if layers inside are unbuilt.

  Args:
    layer: the layer.
  """
  if build_creates_kernels(layer):
    return True
  try:
    return all(weight is not None for weight in _kernel_values(layer))
  except AttributeError:
    return False


def _getters(layer: keras.layers.Layer) -> Iterator[tuple[Any, Getter]]:
  """Yields the layers with kernels, each with a function that returns them."""
  if declares_kernels(layer):
    yield layer, layer.get_prunable_weights
  elif isinstance(layer, layers.MultiHeadAttention):
    yield layer, lambda: _attention_kernels(layer)
  else:
    for part in inner_kernel_layers(layer):
      yield from _getters(part)
    names = [
      name for name in _kernel_attributes(layer) or () if _may_have(layer, name)
    ]
    if names:
      yield layer, lambda: [getattr(layer, name, None) for name in names]


def _may_have(layer: Any, attribute: str) -> bool:
  """Returns whether an attribute is a variable, or may be once built."""
  return not layer.built or _is_variable(getattr(layer, attribute, None))


def _attention_kernels(layer: keras.layers.MultiHeadAttention) -> list[Any]:
  projections = [getattr(layer, name) for name in _ATTENTION]
  query, key, value = layer._query_shape, layer._key_shape, layer._value_shape
  heads = [*query[:-1], layer._num_heads, layer._value_dim]
  shapes = query, key, value, heads
  for projection, shape in zip(projections, shapes, strict=True):
    if not projection.built:  # The layer was loaded and not called yet.
      projection.build(shape)
      projection.built = True
  return [projection.kernel for projection in projections]


def _kernel_attributes(layer: Any) -> tuple[str, ...] | None:
  """Returns the attributes with a layer's own kernels, `None` if unknown."""
  if type(layer).__name__ == 'ConvLSTMCell':  # Keras does not export it.
    return ('kernel', 'recurrent_kernel')
  if stores_unused_weights(layer):
    return ()
  return next(
    (_ATTRIBUTES[kind] for kind in type(layer).mro() if kind in _ATTRIBUTES),
    () if inner_kernel_layers(layer) else None,
  )


def stores_unused_weights(layer: Any) -> bool:
  """Returns whether a layer masks out most entries of its kernel itself.

  Counting these entries as zeros would overstate the sparsity.

  Args:
    layer: the layer, built or unbuilt.
  """
  kinds = (layers.LocallyConnected1D, layers.LocallyConnected2D)
  return isinstance(layer, kinds) and layer.implementation == 2


def inner_kernel_layers(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layers inside whose kernels count as the layer's own.

  Args:
    layer: the layer, built or unbuilt.
  """
  if isinstance(layer, layers.Bidirectional):
    return [layer.forward_layer, layer.backward_layer]
  if isinstance(layer, layers.TimeDistributed | layers.SpectralNormalization):
    return _leaves(layer.layer)
  if isinstance(layer, layers.StackedRNNCells):
    return list(layer.cells)
  if isinstance(layer, layers.RNN) or _is_cell_wrapper(layer):
    return [layer.cell]
  return []


def _is_cell_wrapper(layer: Any) -> bool:
  return any(kind.__name__ in _CELL_WRAPPERS for kind in type(layer).mro())


def _leaves(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layer itself, or the layers of a model and nested models."""
  # A LinearModel creates its layers when it is built.
  if not isinstance(layer, keras.Model) or isinstance(
    layer, keras.experimental.LinearModel
  ):
    return [layer]
  return [leaf for inner in layer.layers for leaf in _leaves(inner)]
