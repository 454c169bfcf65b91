"""Small convolutional and dense networks; all of them give logits."""

from typing import Any

import tf_keras as keras

layers = keras.layers


def digits_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Returns two convolutions and two dense layers, for 8x8 images."""
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


def small_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Returns three convolutions and two dense layers, for 16x16 images."""
  stack: list[Any] = [layers.Input(input_shape)]
  for filters, pools in ((32, True), (64, False), (64, True)):
    stack += [
      layers.Conv2D(filters, 3, padding='same', use_bias=False),
      layers.BatchNormalization(momentum=0.9),
      layers.ReLU(),
    ]
    if pools:
      stack.append(layers.MaxPool2D())
  stack += [
    layers.Flatten(),
    layers.Dense(128, activation='relu'),
    layers.Dense(classes),
  ]
  return keras.Sequential(stack, name='small_cnn')


def lenet_300_100(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Returns two hidden dense layers, for MNIST (LeCun et al. 1998)."""
  return keras.Sequential(
    [
      layers.Input(input_shape),
      layers.Flatten(),
      layers.Dense(300, activation='relu'),
      layers.Dense(100, activation='relu'),
      layers.Dense(classes),
    ],
    name='lenet_300_100',
  )
