"""Which integers each input of a model may hold: the ids of its embeddings."""

from collections.abc import Sequence
from typing import Any

from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.keras_access import keras

layers = keras.layers

# What goes in there is no id of an embedding behind it.
_ENCODERS = (
  layers.Discretization,
  layers.Hashing,
  layers.StringLookup,
  layers.TextVectorization,
)

Ids = Sequence[int]


def input_ids(layer: Any, inputs: Sequence[Any]) -> list[Ids | None]:
  """Returns for each input the integers that are valid there.

  In Sequential and functional models each input is followed to the embeddings
  that look up what it holds. Of embeddings inside of other layers and models it
  is not known what they look up, so the smallest one counts there.

  Args:
    layer: a layer or a model, built.
    inputs: what it is called with, each with a `dtype`.

  Returns:
    Integers, or `None` where an input is not known to hold ids.

  >>> model = keras.Sequential([keras.layers.Embedding(9, 2, input_length=3)])
  >>> input_ids(model, model.inputs)
  [range(0, 9)]
  """
  found = _known(layer, inputs)
  if found is None or len(found) != len(inputs):
    ids = _smallest(layer)
    # Embeddings take floats too, but with others beside it may be a feature.
    return [
      ids if len(inputs) == 1 or tensor.dtype.is_integer else None
      for tensor in inputs
    ]
  return found


def _known(layer: Any, inputs: Sequence[Any]) -> list[Ids | None] | None:
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
  return None if calls is None else _followed(layer, calls)


def _followed(network: Any, calls: list[model_layers.Call]) -> list[Ids | None]:
  """Goes back from the outputs of a network to its inputs."""
  found: dict[int, Ids] = {}
  for call in reversed(calls):
    behind = [found[id(out)] for out in call.outputs if id(out) in found]
    if _changes_values(call.layer):
      behind = []
    ids = input_ids(call.layer, call.inputs)
    for tensor, own in zip(call.inputs, ids, strict=True):
      known = [found.get(id(tensor)), own, *behind]
      limits = [limit for limit in known if limit is not None]
      if limits:
        found[id(tensor)] = min(limits, key=len)
  return [found.get(id(tensor)) for tensor in network.inputs]


def _changes_values(layer: Any) -> bool:
  return bool(layer.weights) or isinstance(
    layer, (*_ENCODERS, layers.IntegerLookup, layers.CategoryEncoding)
  )


def _vocabulary(layer: keras.layers.IntegerLookup) -> Ids | None:
  """Returns what a lookup takes that refuses all else."""
  if layer.num_oov_indices:
    return None
  return layer.get_vocabulary(include_special_tokens=False) or None


def _smallest(layer: Any) -> Ids | None:
  inside = [layer, *model_layers.flatten_layers(layer)]
  sizes = [i.input_dim for i in inside if isinstance(i, layers.Embedding)]
  return range(min(sizes)) if sizes else None
