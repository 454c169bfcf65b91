"""Finds the layers of a tf_keras model that an argument selects."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from tf_unilth.engines import layer_selection
from tf_unilth.engines.tfmot import keras_access
from tf_unilth.engines.tfmot.keras_access import keras

Layer: TypeAlias = keras.layers.Layer


def named_layers(model: keras.Model) -> Iterator[Layer]:
  """Yields the layers of a model and of its nested models."""
  for layer in model.layers:
    yield layer
    if isinstance(layer, keras.Model):
      yield from named_layers(layer)


def unwrapped(layer: Layer) -> Layer:
  """Returns the layer inside a wrapper, or any other layer itself."""
  return (
    layer.layer if isinstance(layer, keras_access.PruneLowMagnitude) else layer
  )


def find_layers(
  model: keras.Model, selectors: Any, argument: str, wrapped: bool = False
) -> list[Layer]:
  """Returns the layers of a model that an argument selects, each once.

  Args:
    model: the model. Layers of nested models are included.
    selectors: as in `layer_selection.find_layers`.
    argument: the name of the argument, for error messages.
    wrapped: whether selectors may match wrapped layers, by the layer or by its
      wrapper. The result then has the layers inside.

  Raises:
    TypeError: a selector has a wrong type.
    ValueError: a selector matches no layer, or a wrapped one where `wrapped`
      is False.
  """
  layers = list(dict.fromkeys(named_layers(model)))
  if wrapped:
    layers = list(
      dict.fromkeys(i for layer in layers for i in (layer, unwrapped(layer)))
    )
  found = layer_selection.find_layers(
    layers, selectors, argument, model.name, Layer
  )
  for layer in found:
    if isinstance(layer, keras_access.PruneLowMagnitude) and not wrapped:
      raise ValueError(
        f'{argument} names {layer.name!r}, which is wrapped already.'
      )
  return list(dict.fromkeys(map(unwrapped, found)))
