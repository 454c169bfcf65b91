"""Finds the valid ids of a model's inputs, from the embeddings they feed."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.served_model import Call, ServedModel

# The inputs of these layers are not ids of the embeddings after them.
_ENCODERS = ('Discretization', 'Hashing', 'StringLookup', 'TextVectorization')

Ids = Sequence[int]


def input_ids(
  layer: Any, inputs: Sequence[Any], model: ServedModel
) -> list[Ids | None]:
  """Returns the valid ids of each input.

  In Sequential and functional models each input is traced to the embeddings
  that look up its values. The inner calls of other layers and models are
  unknown, so the smallest embedding inside them sets the limit.

  Args:
    layer: a built layer or model.
    inputs: the inputs of its call, each with a `dtype`.
    model: the model that has the layer.

  Returns:
    For each input the valid integers, or `None` if it is not known to hold ids.

  >>> from tf_unilth.engines import served_model
  >>> model = keras.Sequential([keras.layers.Embedding(9, 2, input_length=3)])
  >>> served = served_model.of_model(model)
  >>> input_ids(model, model.inputs, served)
  [range(0, 9)]
  """
  found = _ids_of_layer(layer, inputs, model)
  if found is None or len(found) != len(inputs):
    ids = _ids_of_smallest_embedding(layer, model)
    # Embeddings accept floats too, but one of several float inputs may be a
    # feature.
    return [
      ids if len(inputs) == 1 or tf.as_dtype(tensor.dtype).is_integer else None
      for tensor in inputs
    ]
  return found


def _ids_of_layer(
  layer: Any, inputs: Sequence[Any], model: ServedModel
) -> list[Ids | None] | None:
  """Returns the ids of a layer's inputs; `None` if its calls are unknown."""
  layers = model.keras.layers
  if isinstance(layer, layers.Embedding):
    return [range(layer.input_dim)] * len(inputs)
  if isinstance(layer, layers.CategoryEncoding):
    tokens = layer.num_tokens
    return [range(tokens) if tokens else None] * len(inputs)
  if isinstance(layer, layers.IntegerLookup):
    return [_vocabulary(layer)] * len(inputs)
  if isinstance(layer, _encoders(model)):
    return [None] * len(inputs)
  if isinstance(layer, layers.TimeDistributed):
    return input_ids(layer.layer, inputs, model)
  calls = model.network_calls(layer)
  return None if calls is None else _ids_of_network(layer, calls, model)


def _ids_of_network(
  network: Any, calls: list[Call], model: ServedModel
) -> list[Ids | None]:
  """Traces ids from the outputs of a network back to its inputs."""
  found: dict[int, Ids] = {}
  for call in reversed(calls):
    later = [found[id(out)] for out in call.outputs if id(out) in found]
    if _changes_values(call.layer, model):
      later = []
    ids = input_ids(call.layer, call.inputs, model)
    for tensor, own in zip(call.inputs, ids, strict=True):
      known = [found.get(id(tensor)), own, *later]
      limits = [limit for limit in known if limit is not None]
      if limits:
        found[id(tensor)] = min(limits, key=len)
  return [found.get(id(tensor)) for tensor in network.inputs]


def _encoders(model: ServedModel) -> tuple[type, ...]:
  return tuple(getattr(model.keras.layers, name) for name in _ENCODERS)


def _changes_values(layer: Any, model: ServedModel) -> bool:
  layers = model.keras.layers
  lookups = (layers.IntegerLookup, layers.CategoryEncoding)
  # An operation in a functional model of Keras 3 has no weights.
  has_weights = bool(getattr(layer, 'weights', ()))
  return has_weights or isinstance(layer, (*_encoders(model), *lookups))


def _vocabulary(layer: Any) -> Ids | None:
  """Returns the vocabulary of a lookup that rejects all other values."""
  if layer.num_oov_indices:
    return None
  return layer.get_vocabulary(include_special_tokens=False) or None


def _ids_of_smallest_embedding(layer: Any, model: ServedModel) -> Ids | None:
  kind = model.keras.layers.Embedding
  inside = [layer, *model.flatten_layers(layer)]
  sizes = [i.input_dim for i in inside if isinstance(i, kind)]
  return range(min(sizes)) if sizes else None
