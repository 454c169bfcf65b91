"""Residual networks for small images (He et al. 2016), in either Keras."""

import functools
from collections.abc import Callable
from typing import Any

_Shortcut = Callable[[Any, Any, int, int], Any]


def _convolution(
  layers: Any, x: Any, filters: int, size: int, strides: int
) -> Any:
  x = layers.Conv2D(
    filters,
    size,
    strides,
    padding='same',
    use_bias=False,
    kernel_initializer='he_normal',
  )(x)
  return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _padded(layers: Any, x: Any, filters: int, strides: int) -> Any:
  """Returns shortcut A: every other pixel, padded with channels of zeros.

  It has no parameters, and only layers that Keras and TFLite readers know.
  """
  x = layers.AveragePooling2D(1, strides)(x)
  _, height, width, channels = x.shape
  before = (filters - channels) // 2
  after = filters - channels - before
  x = layers.Reshape((height * width, channels, 1))(x)
  x = layers.ZeroPadding2D(((0, 0), (before, after)))(x)
  return layers.Reshape((height, width, filters))(x)


def _projected(layers: Any, x: Any, filters: int, strides: int) -> Any:
  """Returns shortcut B: a convolution of size 1."""
  return _convolution(layers, x, filters, 1, strides)


def _block(
  layers: Any, x: Any, filters: int, strides: int, shortcut: _Shortcut
) -> Any:
  y = layers.ReLU()(_convolution(layers, x, filters, 3, strides))
  y = _convolution(layers, y, filters, 3, 1)
  if strides != 1:
    x = shortcut(layers, x, filters, strides)
  return layers.ReLU()(layers.add([y, x]))


def _network(
  keras: Any,
  input_shape: tuple[int, ...],
  classes: int,
  stages: tuple[int, ...],
  blocks: int,
  shortcut: _Shortcut,
  name: str,
) -> Any:
  """Returns stages of blocks; each stage but the first halves the size."""
  layers = keras.layers
  inputs = layers.Input(input_shape)
  x = layers.ReLU()(_convolution(layers, inputs, stages[0], 3, 1))
  for stage, filters in enumerate(stages):
    for block in range(blocks):
      strides = 2 if stage and not block else 1
      x = _block(layers, x, filters, strides, shortcut)
  outputs = layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))
  return keras.Model(inputs, outputs, name=name)


def _cifar(
  blocks: int, keras: Any, input_shape: tuple[int, ...], classes: int
) -> Any:
  """Returns the CIFAR network of 6 * blocks + 2 layers, with shortcut A."""
  name = f'resnet{6 * blocks + 2}'
  stages = (16, 32, 64)
  return _network(keras, input_shape, classes, stages, blocks, _padded, name)


resnet20 = functools.partial(_cifar, 3)
resnet56 = functools.partial(_cifar, 9)


def resnet18(keras: Any, input_shape: tuple[int, ...], classes: int) -> Any:
  """Returns ResNet-18 with shortcut B, for images of about 64x64.

  As on Tiny ImageNet, the first convolution is 3x3, with neither a stride nor
  pooling.
  """
  stages = (64, 128, 256, 512)
  shortcut, name = _projected, 'resnet18'
  return _network(keras, input_shape, classes, stages, 2, shortcut, name)
