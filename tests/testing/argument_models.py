"""Models and tickets that the random arguments stand for."""

import pathlib
from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth

layers = keras.layers


class AllowDense(tfmot.sparsity.keras.PruningPolicy):
  def allow_pruning(self, layer: keras.layers.Layer) -> bool:
    return isinstance(layer, layers.Dense)

  def ensure_model_supports_pruning(self, model: keras.Model) -> None:
    pass


def path(name: str) -> Any:
  return pathlib.Path(name)


def keras3() -> Any:
  import keras as keras3

  return keras3.Sequential([keras3.layers.Dense(2)])


class _Subclassed(keras.Model):
  """A model without a graph."""

  def __init__(self):
    super().__init__()
    self.head = layers.Dense(2)

  def call(self, inputs: Any) -> Any:
    return self.head(inputs)


def subclassed() -> keras.Model:
  """Returns a subclassed model that is built."""
  model = _Subclassed()
  model.build((None, 3))
  return model


def toy() -> keras.Model:
  """Returns a model of two dense layers."""
  return keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      layers.Dense(16, activation='relu', name='hidden'),
      layers.Dense(2, name='head'),
    ]
  )


def sparse() -> keras.Model:
  """Returns a toy of which half the weights are 0."""
  model = toy()
  for layer in model.layers[1:]:
    kernel, bias = layer.get_weights()
    kernel[::2] = 0
    layer.set_weights([kernel, bias])
  return model


def wrapped() -> keras.Model:
  """Returns a toy in wrappers."""
  return tf_unilth.prune_low_magnitude(toy(), tf_unilth.FixedMask())


def ticket() -> tf_unilth.Ticket:
  model = sparse()
  return tf_unilth.Ticket.from_model(model, rewind_weights=model.get_weights())


def save_ticket(**arguments: Any) -> None:
  ticket().save(**arguments)


def apply_ticket(**arguments: Any) -> Any:
  return ticket().apply(**arguments)
