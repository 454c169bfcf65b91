"""Which weights of a layer are kernels: what is pruned, and what is not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tf_unilth import compat
from tf_unilth.compat import keras

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

Getter = Callable[[], list[Any]]


def is_prunable(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer, built or not, has kernels to prune.

  >>> is_prunable(keras.layers.Bidirectional(keras.layers.LSTM(4)))
  True
  >>> is_prunable(keras.layers.Rescaling(1 / 255))
  False
  """
  return bool(list(_getters(layer)))


def prunable_weights(layer: keras.layers.Layer) -> list[Any]:
  """Returns the kernels of a built layer; no biases, no statistics.

  They are the float32 variables themselves, also under a mixed precision
  policy, where Keras hands out a view that reads as half precision.
  """
  return [uncast(weight) for getter in _getters(layer) for weight in getter()]


def uncast(weight: Any) -> Any:
  """Returns the variable behind a view of it in a lower precision."""
  return getattr(weight, '_variable', weight)


def model_kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
  """Yields the kernels of a model, wrapped or not, each with its name.

  The order is that of the layers. Layers without weights yet have none.
  """
  seen = set()  # Of a Bidirectional layer there are those inside as well.
  for layer in compat.flatten_layers(model):
    if isinstance(layer, compat.PruneLowMagnitude):
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


def are_made(layer: keras.layers.Layer) -> bool:
  """Returns whether there are kernels by the time that `build` is over.

  A layer counts as built after loading, even where layers inside are not.
  """
  if builds_alone(layer):
    return True
  try:
    return all(weight is not None for weight in prunable_weights(layer))
  except AttributeError:
    return False


def _getters(layer: keras.layers.Layer) -> Iterator[Getter]:
  if hasattr(type(layer), 'get_prunable_weights'):
    yield layer.get_prunable_weights
  elif isinstance(layer, layers.MultiHeadAttention):
    yield lambda: _attention_kernels(layer)
  else:
    yield from _inner_getters(_parts(layer))
    names = _attributes(layer)
    if names:
      yield lambda: [getattr(layer, name) for name in names]
    elif names is None and hasattr(layer, 'get_prunable_weights'):
      yield layer.get_prunable_weights  # Put onto the one layer by a user.


def _attention_kernels(layer: keras.layers.MultiHeadAttention) -> list[Any]:
  parts = [getattr(layer, name) for name in _ATTENTION]
  query, key, value = layer._query_shape, layer._key_shape, layer._value_shape
  heads = [*query[:-1], layer._num_heads, layer._value_dim]
  for part, shape in zip(parts, (query, key, value, heads), strict=True):
    if not part.built:  # As in one that was loaded and not yet called.
      part.build(shape)
      part.built = True
  return [part.kernel for part in parts]


def _attributes(layer: Any) -> tuple[str, ...] | None:
  """Returns the names of a known layer's own kernels, `None` if unknown."""
  if type(layer).__name__ == 'ConvLSTMCell':  # Keras does not export it.
    return ('kernel', 'recurrent_kernel')
  return next(
    (_ATTRIBUTES[kind] for kind in type(layer).mro() if kind in _ATTRIBUTES),
    () if _parts(layer) else None,
  )


def _inner_getters(parts: Iterable[Any]) -> Iterator[Getter]:
  for part in parts:
    yield from _getters(part)


def _parts(layer: keras.layers.Layer) -> list[Any]:
  """Returns the layers inside whose kernels count as the layer's own."""
  if isinstance(layer, layers.Bidirectional):
    return [layer.forward_layer, layer.backward_layer]
  if isinstance(layer, layers.TimeDistributed):
    return _leaves(layer.layer)
  if isinstance(layer, layers.RNN):
    return list(getattr(layer.cell, 'cells', [layer.cell]))
  return []


def _leaves(layer: keras.layers.Layer) -> list[Any]:
  """Returns a layer itself, or the layers of a model and of models inside."""
  if not isinstance(layer, keras.Model):
    return [layer]
  return [leaf for inner in layer.layers for leaf in _leaves(inner)]
