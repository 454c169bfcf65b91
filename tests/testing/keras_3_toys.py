"""Small Keras 3 models, on the backend of the process."""

from typing import Any

import keras
import numpy as np

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.keras3 import backend_values

layers = keras.layers
# On TensorFlow, XLA compiles for longer than a test trains. Tests of compiled
# steps ask for them by 'auto'.
JIT = False if keras.backend.backend() == 'tensorflow' else 'auto'


def dense() -> keras.Model:
  """A Sequential model of dense layers, as `toys.dense()`."""
  return keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      layers.Dense(16, activation='relu'),
      layers.Dense(2),
    ]
  )


def conv() -> keras.Model:
  """A functional model with convolutions and batch normalisation."""
  inputs = layers.Input((6, 6, 1))
  x = layers.Conv2D(4, 3, padding='same')(inputs)
  x = layers.BatchNormalization()(x)
  x = layers.ReLU()(x)
  x = layers.Conv2D(6, 3, activation='relu')(x)
  x = layers.Flatten()(x)
  return keras.Model(inputs, layers.Dense(2)(x))


def planned(
  model: keras.Model, schedule: Any, optimizer: Any = None, **compiled: Any
) -> keras.Model:
  """Passes a model to `prune_low_magnitude`, and compiles it."""
  model = tf_unilth.prune_low_magnitude(model, schedule)
  return compiled_for_labels(model, optimizer, **compiled)


def compiled_for_labels(
  model: keras.Model, optimizer: Any = None, **compiled: Any
) -> keras.Model:
  """Compiles a model for the labels of `toys.data()`."""
  model.compile(
    optimizer or keras.optimizers.SGD(0.05, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    **{'jit_compile': JIT, **compiled},
  )
  return model


def nested() -> keras.Model:
  """A functional model with another model inside."""
  inputs = layers.Input((6, 6, 1))
  return keras.Model(inputs, dense()(layers.Activation('relu')(inputs)))


class Spy(keras.callbacks.Callback):
  """Sees masks and weights after each batch and epoch, and each state.

  Attributes:
    batches: masks and kernels after each batch.
    epochs: masks and kernels after each epoch.
    rounds: the masks at the end of each round, by its number.
    states: the weights and the optimizer's variables after each epoch.
  """

  def __init__(self):
    super().__init__()
    self.batches: list[Any] = []
    self.epochs: list[Any] = []
    self.rounds: dict[int, Any] = {}
    self.states: list[list[np.ndarray]] = []

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Records masks and kernels."""
    self.batches.append(_masks_and_kernels(self.model))
    number = self.model._pruning_plan.state.round
    if number:
      self.rounds.setdefault(number, self.batches[-1][0])

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Records masks, kernels and the whole state."""
    self.epochs.append(_masks_and_kernels(self.model))
    self.states.append(training_state(self.model))


def _masks_and_kernels(model: keras.Model) -> Any:
  plan = model._pruning_plan
  return [mask.copy() for mask in plan.masks], plan.read_weights()


def masks(model: keras.Model) -> list[np.ndarray]:
  """Returns the masks of a model."""
  return [mask.copy() for mask in model._pruning_plan.masks]


def training_state(model: keras.Model) -> list[np.ndarray]:
  """Returns the weights and the optimizer's own variables."""
  backend_values.sync(model)
  hook = model._pruning_plan.hooks.hook_optimizer()
  variables = [*model.weights, *hook.own_variables()]
  return [backend_values.read(variable) for variable in variables]


def fit(model: keras.Model, *callbacks: Any, **arguments: Any) -> Any:
  """Trains a model on `toys.data()` as `toys.fit` does."""
  x, y = toys.data()
  arguments = {'epochs': 8, 'batch_size': 8, 'verbose': 0} | arguments
  return model.fit(
    x, y, validation_data=(x, y), callbacks=list(callbacks), **arguments
  )
