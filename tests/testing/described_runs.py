"""Runs that differ in one thing, of models of either Keras.

For the tests of what `run_description` tells of a run.
"""

import functools
from types import ModuleType
from typing import Any

import numpy as np

from tf_unilth.engines.fit_context import FitContext
from tf_unilth.resume import run_description

# How a model is made, and two values for it.
Change = tuple[Any, Any, Any]


def describe(model: Any, *callbacks: Any) -> dict[str, Any]:
  """Returns the description of a run of a model."""
  return run_description.describe(
    model, callbacks, {'epochs': 3, 'steps': None}, {}, FitContext()
  )


def compiled(
  keras: ModuleType,
  *inside: Any,
  optimizer: Any = 'sgd',
  loss: Any = 'mse',
  **arguments: Any,
) -> Any:
  """Returns a compiled Sequential model of some layers.

  Args:
    keras: the package that it is of.
    *inside: its layers.
    optimizer: as of `compile`.
    loss: as of `compile`.
    **arguments: of `compile`.
  """
  model = keras.Sequential([keras.layers.Input((4,)), *inside])
  model.compile(optimizer, loss, **arguments)
  return model


def changes(keras: ModuleType) -> dict[str, Change]:
  """Returns changes of runs, by what must be said of them.

  Args:
    keras: the package of the models.
  """
  layers, make = keras.layers, functools.partial(compiled, keras)

  def rate(optimizer: Any) -> Any:
    return make(layers.Dense(1), optimizer=optimizer)

  return {
    'activation': (
      lambda v: make(layers.Dense(3, activation=v)),
      *('relu', 'tanh'),
    ),
    'rate was 0.1 and is now 0.5': (
      lambda v: make(layers.Dropout(v), layers.Dense(1)),
      *(0.1, 0.5),
    ),
    'connections': (functools.partial(_connected, keras), False, True),
    'connections.': (functools.partial(_connected, keras, False), 2.0, 3.0),
    'share was 0.5 and is now 0.25': (
      lambda v: make(_without_config(keras, v)),
      *(0.5, 0.25),
    ),
    'options.share': (functools.partial(_subclassed, keras), 0.5, 0.25),
    'learning rate.optimizer was 0.1 and is now 0.01': (
      lambda v: rate(keras.optimizers.SGD(v)),
      *(0.1, 0.01),
    ),
    'optimizer.momentum was 0.5': (
      lambda v: rate(keras.optimizers.SGD(0.1, momentum=v)),
      *(0.5, 0.9),
    ),
    'another': (functools.partial(_with_another, keras), 0.1, 0.2),
    'loss._weight was 1': (
      lambda v: make(layers.Dense(1), loss=_weighted(keras, v)),
      *(1, 2),
    ),
  }


def _without_config(keras: ModuleType, share: float) -> Any:
  layers = keras.layers

  class WithoutConfig(layers.Layer):
    """A layer that tells Keras nothing of its arguments."""

    def __init__(self):
      super().__init__()
      self.share, self.dense = share, layers.Dense(2)
      self.label = f'{self.name}_label'  # Another one in each model.

    def build(self, shape):
      self.dense.build(shape)

    def call(self, inputs):
      return self.share * self.dense(inputs)

  return WithoutConfig()


def _subclassed(keras: ModuleType, share: float) -> Any:
  layers = keras.layers

  class Subclassed(keras.Model):
    """A model with settings in attributes."""

    def __init__(self):
      super().__init__()
      self.options = {'share': share, 'act': keras.activations.relu}
      self.blocks = [layers.Dense(2, activation=lambda x: x), layers.Dense(1)]

    def call(self, inputs):
      for block in self.blocks:
        inputs = block(inputs)
      return self.options['share'] * inputs

  model = Subclassed()
  model(np.zeros((1, 4), np.float32))
  model.compile('sgd', 'mse')
  return model


def _connected(keras: ModuleType, turned: bool, factor: float = 2.0) -> Any:
  layers = keras.layers
  inputs = layers.Input((4,))
  found = [layers.Dense(2)(inputs), layers.Dense(2)(inputs) * factor]
  both = layers.Concatenate()(found[::-1] if turned else found)
  model = keras.Model(inputs, layers.Dense(1)(both))
  model.compile('sgd', 'mse')
  return model


def _weighted(keras: ModuleType, weight: float) -> Any:
  class Weighted(keras.losses.Loss):
    """A loss with a setting in an attribute."""

    def __init__(self):
      super().__init__()
      self._weight = weight

    def call(self, y_true, y_pred):
      return self._weight * (y_true - y_pred)

  return Weighted()


def _with_another(keras: ModuleType, rate: float) -> Any:
  model = compiled(keras, keras.layers.Dense(1))
  model.another = keras.optimizers.Adam(rate)
  return model
