"""The networks of the recipes, in tf_keras."""

import tf_keras as keras

layers = keras.layers


def digits_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Two convolutions and two dense layers, for 8x8 images."""
  return keras.Sequential(
    [
      layers.Input(input_shape),
      layers.Conv2D(16, 3, padding='same', use_bias=False),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.Conv2D(32, 3, padding='same', use_bias=False),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.MaxPool2D(),
      layers.Flatten(),
      layers.Dense(64, activation='relu'),
      layers.Dense(classes),
    ],
    name='digits_cnn',
  )
