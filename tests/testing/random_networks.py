"""Random networks of the layers whose channels are traced."""

from typing import Any

import tf_keras as keras

from tests.testing import random_models
from tests.testing.draw import Draw

layers = keras.layers

_ACTIVATIONS = (None, 'relu', 'sigmoid', 'tanh', 'gelu', 'softplus')


def network(d: Draw, classes: int | None = None) -> keras.Model:
  """Returns a network on images, with sums, joints, shared and nested parts.

  Args:
    d: what decides.
    classes: the width of its one or two outputs; 3 and 2 by default.
  """
  inputs = x = layers.Input((6, 6, d.whole(1, 3)))
  tensors = [_conv(d)(x)]
  for _ in range(d.whole(3, 8)):
    x = tensors[-1]
    step = d.one([_layer, _layer, _layer, _join, _gate, _shared, _nested])
    tensors.append(step(d, x, d.one(tensors)))
  x = d.one([layers.Flatten, layers.GlobalAveragePooling2D])()(tensors[-1])
  if d.chance(0.5):
    x = layers.Dense(d.whole(2, 9), activation=d.one(_ACTIVATIONS))(x)
    x = d.maybe(0.3, layers.PReLU(), layers.Dropout(0.1))(x)
  outputs = layers.Dense(classes or 3)(x)
  if d.chance(0.2):
    second = layers.GlobalMaxPooling2D()(d.one(tensors))
    return keras.Model(inputs, [outputs, layers.Dense(classes or 2)(second)])
  return keras.Model(inputs, outputs)


def make(d: Draw, wrap: random_models.Wrap) -> random_models.RandomModel:
  """Returns a random model that is pruned by whole channels.

  It mostly is a network; of other random models most channels cannot go.

  Args:
    d: what decides.
    wrap: as of `random_models.make`.
  """
  if d.chance(0.2):
    return random_models.make(d, wrap)
  model = network(d, random_models.CLASSES)
  inputs = [(tuple(model.input_shape[1:]), 'float32')]
  return random_models.RandomModel('network', model, inputs, len(model.outputs))


def _conv(d: Draw, filters: int | None = None) -> layers.Layer:
  size = d.one([1, 1, 2, 3])
  # 'same' keeps 6 x 6, so that any two tensors can be added.
  return d.one([layers.Conv2D, layers.Conv2D, layers.SeparableConv2D])(
    filters or d.whole(2, 7),
    size,
    padding='same',
    use_bias=d.chance(0.7),
    activation=d.one(_ACTIVATIONS),
  )


def _layer(d: Draw, x: Any, other: Any) -> Any:
  """A layer that keeps the size of the image."""
  del other
  layer = d.one(
    [
      lambda: _conv(d),
      lambda: _conv(d),
      lambda: layers.Dense(d.whole(2, 7), activation=d.one(_ACTIVATIONS)),
      layers.BatchNormalization,
      lambda: layers.BatchNormalization(scale=False),
      layers.ReLU,
      lambda: layers.LeakyReLU(0.2),
      lambda: layers.PReLU(shared_axes=d.maybe(0.5, [1, 2])),
      lambda: layers.Rescaling(0.5, 0.1),
      lambda: layers.DepthwiseConv2D(
        2, padding='same', depth_multiplier=d.whole(1, 2)
      ),
      lambda: layers.Conv2DTranspose(
        d.whole(2, 5), d.whole(1, 2), padding='same'
      ),
      lambda: layers.MaxPooling2D(2, 1, padding='same'),
      lambda: layers.AveragePooling2D(2, 1, padding='same'),
      lambda: layers.Permute((2, 1, 3)),
      lambda: keras.Sequential([layers.ZeroPadding2D(), layers.Cropping2D()]),
      lambda: keras.Sequential([layers.Conv2D(4, 3), layers.ZeroPadding2D()]),
      lambda: keras.Sequential(
        [layers.MaxPooling2D(), layers.UpSampling2D(interpolation='bilinear')]
      ),
      lambda: layers.LayerNormalization(),
    ]
  )()
  return layer(x)


def _join(d: Draw, x: Any, other: Any) -> Any:
  if d.chance(0.4):
    return layers.Concatenate(axis=-1)([x, other])
  if other.shape[-1] != x.shape[-1]:
    other = layers.Conv2D(x.shape[-1], 1)(other)
  if d.chance(0.3):
    return d.one([lambda: x + other, lambda: x * other, lambda: x - other])()
  kinds = (layers.Add, layers.Multiply, layers.Average, layers.Maximum)
  return d.one([*kinds, layers.Minimum, layers.Subtract])()([x, other])


def _gate(d: Draw, x: Any, other: Any) -> Any:
  """Squeeze and excitation."""
  del other
  y = layers.GlobalAveragePooling2D(keepdims=d.chance(0.5))(x)
  if len(y.shape) == 2:
    y = layers.Reshape((1, 1, x.shape[-1]))(y)
  y = layers.Conv2D(d.whole(1, 3), 1, activation='swish')(y)
  y = layers.Conv2D(d.one([1, x.shape[-1]]), 1, activation='sigmoid')(y)
  return layers.Multiply()([x, y])


def _shared(d: Draw, x: Any, other: Any) -> Any:
  """A layer that is called twice."""
  if other.shape[-1] != x.shape[-1]:
    other = layers.Conv2D(x.shape[-1], 1)(other)
  layer = _conv(d)
  return layers.Concatenate()([layer(x), layers.ReLU()(layer(other))])


def _nested(d: Draw, x: Any, other: Any) -> Any:
  inputs = layers.Input(x.shape[1:])
  y = _layer(d, inputs, None)
  if d.chance(0.5):
    y = _join(d, y, _conv(d)(inputs))
  model = keras.Model(inputs, y)
  if other.shape[-1] == x.shape[-1] and d.chance(0.3):
    return layers.Concatenate()([model(x), model(other)])
  return model(x)
