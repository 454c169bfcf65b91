"""Small Keras 3 models, on the backend of the process."""

from typing import Any

import keras

import tf_unilth

layers = keras.layers


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
    **compiled,
  )
  return model
