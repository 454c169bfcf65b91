"""Small convolutional and dense networks; all of them give logits.

A network is written once for both Kerases, whose module is an argument.
"""

from typing import Any


def digits_cnn(keras: Any, input_shape: tuple[int, ...], classes: int) -> Any:
  """Returns two convolutions and two dense layers, for 8x8 images."""
  layers = keras.layers
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


def small_cnn(keras: Any, input_shape: tuple[int, ...], classes: int) -> Any:
  """Returns three convolutions and two dense layers, for 16x16 images."""
  layers = keras.layers
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


def lenet_300_100(
  keras: Any, input_shape: tuple[int, ...], classes: int
) -> Any:
  """Returns two hidden dense layers, for MNIST (LeCun et al. 1998)."""
  layers = keras.layers
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
