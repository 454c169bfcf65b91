"""Finds the valid ids of a model's inputs, from the embeddings they feed."""

from collections.abc import Sequence
from typing import Any

from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

# The inputs of these layers are not ids of the embeddings after them.
_ENCODERS = (
  layers.Discretization,
  layers.Hashing,
  layers.StringLookup,
  layers.TextVectorization,
)

Ids = Sequence[int]


def input_ids(layer: Any, inputs: Sequence[Any]) -> list[Ids | None]:
  """Returns the valid ids of each input.

  In Sequential and functional models each input is traced to the embeddings
  that look up its values. The inner calls of other layers and models are
  unknown, so the smallest embedding inside them sets the limit.

  Args:
    layer: a built layer or model.
    inputs: the inputs of its call, each with a `dtype`.

  Returns:
    For each input the valid integers, or `None` if it is not known to hold ids.

  >>> model = keras.Sequential([keras.layers.Embedding(9, 2, input_length=3)])
  >>> input_ids(model, model.inputs)
  [range(0, 9)]
  """
  found = _ids_of_layer(layer, inputs)
  if found is None or len(found) != len(inputs):
    ids = _ids_of_smallest_embedding(layer)
    # Embeddings accept floats too, but one of several float inputs may be a
    # feature.
    return [
      ids if len(inputs) == 1 or tensor.dtype.is_integer else None
      for tensor in inputs
    ]
  return found


def _ids_of_layer(layer: Any, inputs: Sequence[Any]) -> list[Ids | None] | None:
  """Returns the ids of a layer's inputs; `None` if its calls are unknown."""
  if isinstance(layer, layers.Embedding):
    return [range(layer.input_dim)] * len(inputs)
  if isinstance(layer, layers.CategoryEncoding):
    tokens = layer.num_tokens
    return [range(tokens) if tokens else None] * len(inputs)
  if isinstance(layer, layers.IntegerLookup):
    return [_vocabulary(layer)] * len(inputs)
  if isinstance(layer, _ENCODERS):
    return [None] * len(inputs)
  if isinstance(layer, layers.TimeDistributed):
    return input_ids(layer.layer, inputs)
  calls = model_layers.network_calls(layer)
  return None if calls is None else _ids_of_network(layer, calls)


def _ids_of_network(
  network: Any, calls: list[model_layers.Call]
) -> list[Ids | None]:
  """Traces ids from the outputs of a network back to its inputs."""
  found: dict[int, Ids] = {}
  for call in reversed(calls):
    later = [found[id(out)] for out in call.outputs if id(out) in found]
    if _changes_values(call.layer):
      later = []
    ids = input_ids(call.layer, call.inputs)
    for tensor, own in zip(call.inputs, ids, strict=True):
      known = [found.get(id(tensor)), own, *later]
      limits = [limit for limit in known if limit is not None]
      if limits:
        found[id(tensor)] = min(limits, key=len)
  return [found.get(id(tensor)) for tensor in network.inputs]


def _changes_values(layer: Any) -> bool:
  return bool(layer.weights) or isinstance(
    layer, (*_ENCODERS, layers.IntegerLookup, layers.CategoryEncoding)
  )


def _vocabulary(layer: keras.layers.IntegerLookup) -> Ids | None:
  """Returns the vocabulary of a lookup that rejects all other values."""
  if layer.num_oov_indices:
    return None
  return layer.get_vocabulary(include_special_tokens=False) or None


def _ids_of_smallest_embedding(layer: Any) -> Ids | None:
  inside = [layer, *model_layers.flatten_layers(layer)]
  sizes = [i.input_dim for i in inside if isinstance(i, layers.Embedding)]
  return range(min(sizes)) if sizes else None
