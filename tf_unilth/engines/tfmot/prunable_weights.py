"""Which weights of a layer are kernels: what is pruned, and what is not."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import keras_access, model_layers
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

# A subclass counts as its nearest ancestor here. Depthwise kernels are small
# and carry much: tfmot leaves them dense, and so do we.
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
# Wrappers of cells, Keras's and TensorFlow's own (`tf.nn`). Neither Keras nor
# TensorFlow exports their base classes.
_CELL_WRAPPERS = ('_RNNCellWrapper', '_RNNCellWrapperV2')

Getter = Callable[[], list[Any]]


def is_prunable(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer, built or not, has kernels to prune.

  >>> is_prunable(keras.layers.Bidirectional(keras.layers.LSTM(4)))
  True
  >>> is_prunable(keras.layers.Rescaling(1 / 255))
  False
  """
  return bool(sources(layer))


def sources(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layers that have a layer's kernels: itself, or some inside.

  >>> layer = keras.layers.RNN([keras.layers.LSTMCell(4)])
  >>> [type(source).__name__ for source in sources(layer)]
  ['LSTMCell']
  """
  return [source for source, _ in _getters(layer)]


def tells_kernels(layer: Any) -> bool:
  """Returns whether a layer has a `get_prunable_weights` of a user's.

  >>> layer = keras.layers.Dense(2)
  >>> tells_kernels(layer)
  False
  >>> layer.get_prunable_weights = lambda: []
  >>> tells_kernels(layer)
  True
  """
  if hasattr(type(layer), 'get_prunable_weights'):
    return True
  tell = getattr(layer, 'get_prunable_weights', None)
  # Wrappers, ours and tfmot's, put one onto the layers that they know.
  return tell is not None and not (
    getattr(tell, 'func', None) is prunable_weights
    or getattr(tell, '__module__', '').startswith('tensorflow_model_')
  )


def tells_variables(layer: Any) -> bool:
  """Returns whether a user told which weights of a layer are kernels.

  Not if it told what is computed from others. It may have told that none are.
  """
  if not tells_kernels(layer):
    return False
  return not layer.built or all(map(_is_variable, _told(layer)))


def prunable_weights(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels of a built layer; no biases, no statistics.

  They are the float32 variables themselves, also under a mixed precision
  policy, where Keras hands out a view that reads as half precision. What is
  computed from others, such as a normalized kernel, is none of them.
  """
  return [
    unwrap_autocast(weight) for weight in _told(layer) if _is_variable(weight)
  ]


def _told(layer: keras.layers.Layer) -> list[Any]:
  return [weight for _, getter in _getters(layer) for weight in getter()]


def _is_variable(weight: Any) -> bool:
  return isinstance(weight, tf.Variable)


def unwrap_autocast(weight: Any) -> Any:
  """Returns the variable behind a view of it in a lower precision."""
  return getattr(weight, '_variable', weight)


def model_kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
  """Yields the kernels of a model, wrapped or not, each with its name.

  The order is that of the layers. Layers without weights yet have none.
  """
  seen = set()  # Of a Bidirectional layer there are those inside as well.
  for layer in model_layers.flatten_layers(model):
    if isinstance(layer, keras_access.PruneLowMagnitude):
      continue  # What it wraps comes next.
    weights = prunable_weights(layer) if layer.built else []
    names = kernel_names(layer.name, weights)
    for name, weight in zip(names, weights, strict=True):
      if weight.ref() not in seen:
        seen.add(weight.ref())
        yield name, weight


def kernel_names(layer_name: str, weights: Sequence[Any]) -> list[str]:
  """Returns a name for each kernel: the layer's, and what tells them apart."""
  if len(weights) == 1:
    return [layer_name]
  paths = [weight.name.split(':')[0].split('/') for weight in weights]
  longest = max((len(path) for path in paths), default=1)
  depth = next(
    (d for d in range(1, longest) if _are_distinct(paths, d)), longest
  )
  return ['/'.join([layer_name, *path[-depth:]]) for path in paths]


def _are_distinct(paths: Sequence[Sequence[str]], depth: int) -> bool:
  return len({tuple(path[-depth:]) for path in paths}) == len(paths)


def builds_alone(layer: keras.layers.Layer) -> bool:
  """Returns whether `build` makes the kernels, not only the first call.

  Kernels that belong to layers inside may come as late as that.
  """
  if isinstance(layer, layers.MultiHeadAttention):
    return layer._built_from_signature
  return not hasattr(type(layer), 'get_prunable_weights')


def kernels_exist(layer: keras.layers.Layer) -> bool:
  """Returns whether there are kernels by the time that `build` is over.

  A layer counts as built after loading, even where layers inside are not.
  """
  if builds_alone(layer):
    return True
  try:
    return all(weight is not None for weight in _told(layer))
  except AttributeError:
    return False


def _getters(layer: keras.layers.Layer) -> Iterator[tuple[Any, Getter]]:
  """Yields the layers that have kernels, each with what returns them."""
  if tells_kernels(layer):
    yield layer, layer.get_prunable_weights
  elif isinstance(layer, layers.MultiHeadAttention):
    yield layer, lambda: _attention_kernels(layer)
  else:
    for part in parts(layer):
      yield from _getters(part)
    names = [
      name for name in _attributes(layer) or () if _may_have(layer, name)
    ]
    if names:
      yield layer, lambda: [getattr(layer, name, None) for name in names]


def _may_have(layer: Any, attribute: str) -> bool:
  """Returns whether an attribute is a variable, or may yet become one."""
  return not layer.built or _is_variable(getattr(layer, attribute, None))


def _attention_kernels(layer: keras.layers.MultiHeadAttention) -> list[Any]:
  projections = [getattr(layer, name) for name in _ATTENTION]
  query, key, value = layer._query_shape, layer._key_shape, layer._value_shape
  heads = [*query[:-1], layer._num_heads, layer._value_dim]
  shapes = query, key, value, heads
  for projection, shape in zip(projections, shapes, strict=True):
    if not projection.built:  # As in one that was loaded and not yet called.
      projection.build(shape)
      projection.built = True
  return [projection.kernel for projection in projections]


def _attributes(layer: Any) -> tuple[str, ...] | None:
  """Returns the names of a known layer's own kernels, `None` if unknown."""
  if type(layer).__name__ == 'ConvLSTMCell':  # Keras does not export it.
    return ('kernel', 'recurrent_kernel')
  if stores_unused_weights(layer):
    return ()
  return next(
    (_ATTRIBUTES[kind] for kind in type(layer).mro() if kind in _ATTRIBUTES),
    () if parts(layer) else None,
  )


def stores_unused_weights(layer: Any) -> bool:
  """Returns whether most of a kernel's entries are masked out by its layer.

  To count them as zeros would overstate what was pruned.
  """
  kinds = (layers.LocallyConnected1D, layers.LocallyConnected2D)
  return isinstance(layer, kinds) and layer.implementation == 2


def parts(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layers inside whose kernels count as the layer's own."""
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
  """Returns a layer itself, or the layers of a model and of models inside."""
  # A LinearModel makes its layers as late as it is built.
  if not isinstance(layer, keras.Model) or isinstance(
    layer, keras.experimental.LinearModel
  ):
    return [layer]
  return [leaf for inner in layer.layers for leaf in _leaves(inner)]
