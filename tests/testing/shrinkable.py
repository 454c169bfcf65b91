"""Models whose units die: networks, and what zeros of their weights."""

from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from tf_unilth.engines.tfmot.channel_graph import inner_layer
from tf_unilth.engines.tfmot.channel_groups import find_channel_groups

layers = keras.layers

# What of a unit is zeroed: all that computes it, or its kernels alone, after
# which its bias or its normalization makes a constant of it.
ALL, KERNELS = ('creates', 'owns'), ('creates',)


def randomize(model: keras.Model, seed: int = 0) -> None:
  """Gives a model biases and statistics other than those it begins with."""
  rng = np.random.default_rng(seed)
  for weight in model.weights:
    if len(weight.shape) == 1 and weight.dtype.is_floating:
      name, shape = weight.name.split('/')[-1].split(':')[0], weight.shape
      if name in ('mean', 'variance'):
        continue  # Of a Normalization layer, which keeps copies.
      if 'variance' in name or 'gamma' in name:
        weight.assign(rng.uniform(0.5, 1.5, shape))
      else:
        weight.assign(rng.normal(size=shape) * 0.2)


def zero_units(
  model: keras.Model,
  share: float,
  roles: Sequence[str] = ALL,
  seed: int = 0,
) -> np.ndarray:
  """Zeros a share of the units of each group; returns which units stay."""
  found = find_channel_groups(model)
  rng, kept = np.random.default_rng(seed), found.all_kept()
  for group in found.groups:
    free = group.units[~group.pinned]
    kept[rng.permutation(free)[: int(share * free.size)]] = False
  for axis in found.axes:
    if axis.role in roles and not axis.weight.startswith('moving'):
      weight = getattr(axis.layer, axis.weight)
      value = np.moveaxis(weight.numpy(), axis.axis, 0)
      value[~kept[axis.units]] = 0
      weight.assign(np.moveaxis(value, 0, axis.axis))
  return kept


def zero_weights(model: keras.Model, share: float, seed: int = 0) -> None:
  """Zeros a share of the elements of each matrix, drawn at random."""
  rng = np.random.default_rng(seed)
  for layer in model._flatten_layers(include_self=False):
    for weight in inner_layer(layer).weights:
      if len(weight.shape) > 1:
        value = weight.numpy()
        weight.assign(value * (rng.random(value.shape) >= share))


def vgg(width: int = 8, use_bias: bool = True) -> keras.Model:
  model = keras.Sequential([layers.Input((16, 16, 3))])
  for number in (1, 2):
    for _ in range(2):
      model.add(
        layers.Conv2D(width * number, 3, padding='same', use_bias=use_bias)
      )
      model.add(layers.BatchNormalization())
      model.add(layers.ReLU())
    model.add(layers.MaxPooling2D())
  model.add(layers.Flatten())
  model.add(layers.Dense(4 * width, activation='relu'))
  model.add(layers.Dense(10))
  return model


def resnet(width: int = 8) -> keras.Model:
  inputs = x = layers.Input((16, 16, 3))
  x = layers.Conv2D(width, 3, padding='same', use_bias=False)(x)
  for stride in (1, 2):
    shortcut, filters = x, stride * width
    for strides in (stride, 1):
      x = layers.BatchNormalization()(x)
      x = layers.ReLU()(x)
      x = layers.Conv2D(
        filters, 3, strides=strides, padding='same', use_bias=False
      )(x)
    if stride > 1:
      shortcut = layers.Conv2D(filters, 1, strides=stride)(shortcut)
    x = layers.Add()([x, shortcut])
  x = layers.ReLU()(layers.BatchNormalization()(x))
  x = layers.GlobalAveragePooling2D()(x)
  return keras.Model(inputs, layers.Dense(10, activation='softmax')(x))


def densenet(growth: int = 4) -> keras.Model:
  inputs = layers.Input((8, 8, 3))
  x = layers.Conv2D(2 * growth, 3, padding='same', use_bias=False)(inputs)
  for _ in range(2):
    for _ in range(2):
      y = layers.ReLU()(layers.BatchNormalization()(x))
      y = layers.Conv2D(2 * growth, 1, use_bias=False)(y)
      y = layers.ReLU()(layers.BatchNormalization()(y))
      y = layers.Conv2D(growth, 3, padding='same', use_bias=False)(y)
      x = layers.Concatenate()([x, y])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(2 * growth, 1, use_bias=False)(x)
    x = layers.AveragePooling2D()(x)
  x = layers.GlobalAveragePooling2D()(x)
  return keras.Model(inputs, layers.Dense(5)(x))


def encoder(width: int = 8) -> keras.Model:
  inputs = layers.Input((6,), dtype='int32')
  x = layers.Embedding(20, width, mask_zero=True)(inputs)
  for _ in range(2):
    y = layers.MultiHeadAttention(2, width // 2)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(4 * width, activation='gelu')(x)
    y = layers.Dropout(0.1)(layers.Dense(width)(y))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
  x = layers.GlobalAveragePooling1D()(x)
  return keras.Model(inputs, layers.Dense(3)(x))
