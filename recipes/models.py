"""The networks of the recipes, in tf_keras; all of them give logits."""

import functools
from collections.abc import Callable
from typing import Any

import tf_keras as keras

from recipes import residual_networks

layers = keras.layers

Build = Callable[[tuple[int, ...], int], keras.Model]


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


def small_cnn(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Three convolutions and two dense layers, for 16x16 images."""
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
  """Two hidden dense layers, for MNIST (LeCun et al. 1998)."""
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


# Filters of each convolution; M halves the size.
_VGG16 = (64, 64, 'M', 128, 128, 'M', *(256,) * 3, 'M', *(512,) * 3, 'M')


def vgg16(input_shape: tuple[int, ...], classes: int) -> keras.Model:
  """VGG-16 with batch normalization and one dense layer, for 32x32 images.

  As in the literature of pruning (14.7 million parameters), not the network
  for 224x224 images with three dense layers (138 million) of Simonyan and
  Zisserman 2015.
  """
  stack: list[Any] = [layers.Input(input_shape)]
  for filters in (*_VGG16, *(512,) * 3):
    if filters == 'M':
      stack.append(layers.MaxPool2D())
      continue
    stack += [
      layers.Conv2D(
        filters,
        3,
        padding='same',
        use_bias=False,
        kernel_initializer='he_normal',
      ),
      layers.BatchNormalization(momentum=0.9),
      layers.ReLU(),
    ]
  stack += [layers.GlobalAveragePooling2D(), layers.Dense(classes)]
  return keras.Sequential(stack, name='vgg16')


def application(
  name: str, input_shape: tuple[int, ...], classes: int
) -> keras.Model:
  """A network of keras.applications by its name there, not trained."""
  return getattr(keras.applications, name)(
    weights=None,
    input_shape=input_shape,
    classes=classes,
    classifier_activation=None,
  )


resnet50: Build = functools.partial(application, 'ResNet50')
mobilenet: Build = functools.partial(application, 'MobileNet')

MODELS: dict[str, Build] = {
  'mobilenet': mobilenet,
  'resnet50': resnet50,
  'resnet18': residual_networks.resnet18,
  'resnet56': residual_networks.resnet56,
  'resnet20': residual_networks.resnet20,
  'vgg16': vgg16,
  'lenet_300_100': lenet_300_100,
  'digits_cnn': digits_cnn,
  'small_cnn': small_cnn,
}
