"""Small models and data that the tests train in moments."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

layers = keras.layers
STEPS = 8  # Per epoch: 64 images in batches of 8.


def data(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
  """Returns images of 6x6 and labels that depend on them."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(count, 6, 6, 1)).astype(np.float32)
  y = (x[:, :3].sum((1, 2, 3)) > x[:, 3:].sum((1, 2, 3))).astype(np.int64)
  return x, y


def dense() -> keras.Model:
  """A Sequential model of dense layers."""
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


def nested() -> keras.Model:
  """A functional model with another model inside."""
  inputs = layers.Input((6, 6, 1))
  return keras.Model(inputs, dense()(layers.Activation('relu')(inputs)))


def wrapped(
  model: keras.Model, schedule: Any, optimizer: Any = None, **compiled: Any
) -> keras.Model:
  """Wraps with tfmot's own function, and compiles."""
  model = tfmot.sparsity.keras.prune_low_magnitude(model, schedule)
  return compiled_for_labels(model, optimizer, **compiled)


def compiled_for_labels(
  model: keras.Model, optimizer: Any = None, **compiled: Any
) -> keras.Model:
  """Compiles for integer labels."""
  model.compile(
    optimizer or keras.optimizers.SGD(0.05, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
    **compiled,
  )
  if not tf.distribute.has_strategy():
    _make_metrics(model)
  return model


def _make_metrics(model: keras.Model) -> None:
  """Makes the metrics that Keras makes while it traces the first step.

  TensorFlow traces a step again that has made variables: as long as to train.
  """
  labels, outputs = tf.zeros(1, tf.int64), tf.zeros((1, 2))
  model.compiled_loss.build(outputs)
  model.compiled_metrics.build(outputs, labels)


def fit(
  model: keras.Model, *callbacks: Any, epochs: int = 8, **arguments: Any
) -> keras.callbacks.History:
  """Fits on the toy data, which are also what validates."""
  arguments = {'validation_data': data(), 'verbose': 0, **arguments}
  return model.fit(
    *data(), batch_size=8, epochs=epochs, callbacks=callbacks, **arguments
  )


def masks(model: keras.Model) -> list[np.ndarray]:
  """Returns the masks of all wrappers, in order, read without tf_unilth."""
  found = []
  for layer in model.layers:
    if isinstance(layer, keras.Model):
      found += masks(layer)
    for _, mask, _ in getattr(layer, 'pruning_vars', []):
      found.append(mask.numpy().astype(bool))
  return found


def kernels(model: keras.Model) -> list[np.ndarray]:
  """Returns the wrapped weights, in order, read without tf_unilth."""
  found = []
  for layer in model.layers:
    if isinstance(layer, keras.Model):
      found += kernels(layer)
    for weight, _, _ in getattr(layer, 'pruning_vars', []):
      found.append(weight.numpy())
  return found


def zeros(arrays: list[np.ndarray]) -> int:
  """Returns how many elements are exactly zero (or False)."""
  return sum(int(np.sum(array == 0)) for array in arrays)


def size(arrays: list[np.ndarray]) -> int:
  """Returns how many elements there are."""
  return sum(array.size for array in arrays)


def training_state(model: keras.Model) -> list[np.ndarray]:
  """Returns weights, statistics and optimizer state; no masks, no steps."""
  own = ('mask', 'threshold', 'pruning_step')
  weights = [w for w in model.weights if not _base_name(w).startswith(own)]
  return [v.numpy() for v in [*weights, *model.optimizer.variables()]]


def _base_name(variable: Any) -> str:
  return variable.name.split('/')[-1]


class SetValLoss(keras.callbacks.Callback):
  """Puts given numbers into the logs, so that a test knows the plateau."""

  def __init__(self, *values: float):
    super().__init__()
    self._values = values

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    logs['val_loss'] = self._values[min(epoch, len(self._values) - 1)]


class Spy(keras.callbacks.Callback):
  """Records masks and weights after every batch and epoch."""

  def __init__(self):
    super().__init__()
    self.batches: list[tuple[list[np.ndarray], list[np.ndarray]]] = []
    self.epochs: list[tuple[list[np.ndarray], list[np.ndarray]]] = []
    self.rounds: dict[int, list[np.ndarray]] = {}
    self.states: list[list[np.ndarray]] = []

  def _record(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return masks(self.model), kernels(self.model)

  def _round(self) -> int:
    schedules = [
      layer.pruning_schedule
      for layer in self.model._flatten_layers()
      if hasattr(layer, 'pruning_schedule')
    ]
    return schedules[0].run.state.round

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self.batches.append(self._record())
    self.rounds.setdefault(self._round(), self.batches[-1][0])

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    self.epochs.append(self._record())
    self.rounds.setdefault(self._round(), self.epochs[-1][0])
    self.states.append(training_state(self.model))
