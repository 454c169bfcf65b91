"""The layers of a model at any depth, and how a functional model calls them."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.served_model import Call
from tf_unilth.engines.tfmot.keras_access import PruneLowMagnitude


def flatten_layers(
  model: keras.layers.Layer, include_self: bool = False
) -> list[keras.layers.Layer]:
  """Returns all layers in order, including those inside models and layers.

  tfmot's own collector looks inside models only, so it misses a wrapper that is
  an attribute of a custom layer.

  Args:
    model: a model or layer.
    include_self: whether to return `model` too, first.
  """
  return list(model._flatten_layers(include_self=include_self))


def pruning_schedules(model: keras.Model) -> list[Any]:
  """Returns the schedules of a model's wrapped layers, in order, each once."""
  layers = flatten_layers(model)
  schedules = [getattr(layer, 'pruning_schedule', None) for layer in layers]
  return list(dict.fromkeys(s for s in schedules if s is not None))


def is_network(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer is a Sequential or functional model."""
  return isinstance(layer, keras.Sequential) or getattr(
    layer, '_is_graph_network', False
  )


def runs_its_graph(network: Any) -> bool:
  """Returns whether a network computes what its layers' connections say.

  Not so for a subclass of `keras.Model` with a `call` of its own, even if it is
  made of inputs and outputs, nor for a Sequential model that is not built.

  Args:
    network: a model or layer.
  """
  calls = keras.Sequential.call, keras.src.engine.functional.Functional.call
  return getattr(network, '_is_graph_network', False) and (
    type(network).call in calls
  )


def network_calls(network: keras.layers.Layer) -> list[Call] | None:
  """Returns the calls of the layers of a built network, in order.

  `None` for anything else, such as a subclassed model.
  """
  if not getattr(network, '_is_graph_network', False):
    return None
  depths = sorted(network._nodes_by_depth, reverse=True)
  return [
    Call(
      node.layer,
      list(node.keras_inputs),
      tf.nest.flatten(node.outputs),
      node,
    )
    for depth in depths
    for node in network._nodes_by_depth[depth]
    if node.keras_inputs
  ]


def has_wrappers(layer: keras.layers.Layer) -> bool:
  """Returns whether a layer or model contains a wrapped layer."""
  return any(isinstance(i, PruneLowMagnitude) for i in flatten_layers(layer))
