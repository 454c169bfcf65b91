"""Small models of the kinds that Keras users prune, for `recipes.model_zoo`."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.networks import registry

layers = keras.layers

CLASSES = 4
IMAGE = (64, 64, 3)
TOKENS = 12
WORDS = 200


def _application(name: str) -> keras.Model:
  return registry.application(name, keras, IMAGE, CLASSES)


def _text(encode: Callable[[Any], Any]) -> keras.Model:
  inputs = layers.Input((TOKENS,), dtype='int32')
  x = layers.Embedding(WORDS, 16, mask_zero=True)(inputs)
  return keras.Model(inputs, layers.Dense(CLASSES)(encode(x)))


def _lstm(x: Any) -> Any:
  return layers.LSTM(16)(x)


def _bidirectional_lstm(x: Any) -> Any:
  x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
  x = layers.TimeDistributed(layers.Dense(8, activation='relu'))(x)
  return layers.GlobalMaxPooling1D()(x)


def _transformer(x: Any) -> Any:
  for _ in range(2):
    attended = layers.MultiHeadAttention(2, 8, dropout=0.1)(x, x)
    x = layers.LayerNormalization()(x + attended)
    hidden = layers.Dense(32, activation='gelu')(x)
    x = layers.LayerNormalization()(x + layers.Dense(16)(hidden))
  return layers.GlobalAveragePooling1D()(x)


def _nested_and_shared() -> keras.Model:
  """A model that applies a nested model and a shared layer to two halves."""
  inputs = layers.Input(IMAGE)
  branch = keras.Sequential(
    [
      layers.Conv2D(8, 3, strides=2, activation='relu'),
      layers.SeparableConv2D(16, 3, strides=2, activation='relu'),
      layers.GlobalAveragePooling2D(),
    ],
    name='branch',
  )
  halves = [branch(inputs[:, :32]), branch(inputs[:, 32:])]
  shared = layers.Dense(16, activation='relu', name='shared')
  return keras.Model(
    inputs, layers.Dense(CLASSES)(layers.add([shared(h) for h in halves]))
  )


def _preprocessing() -> keras.Model:
  """Layers that tfmot rejects, and convolutions that it does not support."""
  return keras.Sequential(
    [
      layers.Input(IMAGE),
      layers.Rescaling(1 / 255),
      layers.RandomFlip(),
      layers.RandomRotation(0.1),
      layers.Conv2D(16, 3, strides=4),
      layers.GroupNormalization(4),
      layers.PReLU(shared_axes=(1, 2)),
      layers.DepthwiseConv2D(3),
      layers.Conv2DTranspose(8, 2),
      layers.Reshape((-1, 8)),
      layers.DepthwiseConv1D(3),
      layers.Conv1DTranspose(8, 2),
      layers.EinsumDense('abc,cd->abd', (None, 8), activation='relu'),
      layers.Dense(8, activation='relu', activity_regularizer='l2'),
      layers.GlobalAveragePooling1D(),
      layers.UnitNormalization(),
      layers.Dense(CLASSES),
    ]
  )


@keras.saving.register_keras_serializable('recipes')
class Subclassed(keras.Model):
  """A subclassed model that wraps its own layers.

  Args:
    schedule: of the pruning.
    **kwargs: arguments of Keras's `Model`.

  >>> model = Subclassed(tf_unilth.IterativeSparsity(0.5))
  >>> model(tf.zeros((2, *IMAGE))).shape
  TensorShape([2, 4])
  """

  def __init__(self, schedule: tf_unilth.IterativeSparsity, **kwargs: Any):
    super().__init__(**kwargs)
    wrap = tf_unilth.prune_low_magnitude
    self.flatten = layers.Flatten()
    self.hidden = [
      wrap(layers.Dense(units, activation='relu'), schedule)
      for units in (16, 8)
    ]
    self.head = wrap(layers.Dense(CLASSES), schedule)

  def call(self, inputs: Any) -> Any:
    """Returns logits, [n, CLASSES], of images, [n, *IMAGE]."""
    x = self.flatten(inputs)
    for layer in self.hidden:
      x = layer(x)
    return self.head(x)


@keras.saving.register_keras_serializable('recipes')
class LowRank(keras.layers.Layer):
  """A dense layer of two factors that names its prunable weights itself.

  Args:
    units: number of outputs.
    rank: columns of the first and rows of the second factor.
    **kwargs: arguments of Keras's `Layer`.

  >>> layer = LowRank(units=3, rank=2)
  >>> layer(tf.ones((1, 5))).shape
  TensorShape([1, 3])
  >>> [kernel.shape.as_list() for kernel in layer.get_prunable_weights()]
  [[5, 2], [2, 3]]
  """

  def __init__(self, units: int, rank: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.units, self.rank = units, rank

  def build(self, input_shape: Any) -> None:
    """Creates both factors for inputs of a shape, [n, inputs]."""
    self.down = self.add_weight('down', (input_shape[-1], self.rank))
    self.up = self.add_weight('up', (self.rank, self.units))

  def call(self, inputs: Any) -> Any:
    """Returns relu(inputs down up), [n, units], of inputs, [n, inputs]."""
    return tf.nn.relu(inputs @ self.down @ self.up)

  def get_prunable_weights(self) -> list[Any]:
    """Returns the kernels, for tfmot and tf_unilth."""
    return [self.down, self.up]

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments of the constructor."""
    return {**super().get_config(), 'units': self.units, 'rank': self.rank}


def _custom_layer() -> keras.Model:
  return keras.Sequential(
    [
      layers.Input(IMAGE),
      layers.Conv2D(8, 3, strides=4),
      layers.Flatten(),
      LowRank(16, 4),
      layers.Dense(CLASSES),
    ]
  )


def _wrapped(
  build: Callable[[], keras.Model],
) -> Callable[[tf_unilth.IterativeSparsity], keras.Model]:
  return lambda schedule: tf_unilth.prune_low_magnitude(build(), schedule)


def _subclassed(schedule: tf_unilth.IterativeSparsity) -> keras.Model:
  model = Subclassed(schedule)
  model.build((None, *IMAGE))
  return model


# By name: returns the model, wrapped with a schedule.
MODELS: dict[str, Callable[[tf_unilth.IterativeSparsity], keras.Model]] = {
  **{
    name: _wrapped(functools.partial(_application, name))
    for name in (
      'ResNet50',
      'MobileNetV2',
      'MobileNetV3Small',
      'EfficientNetB0',
      'EfficientNetV2B0',
      'DenseNet121',
      'ConvNeXtTiny',
    )
  },
  'LSTM': _wrapped(lambda: _text(_lstm)),
  'BidirectionalLSTM': _wrapped(lambda: _text(_bidirectional_lstm)),
  'Transformer': _wrapped(lambda: _text(_transformer)),
  'nested_and_shared': _wrapped(_nested_and_shared),
  'preprocessing': _wrapped(_preprocessing),
  'subclassed': _subclassed,
  'custom_layer': _wrapped(_custom_layer),
}


def data(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns random inputs and labels for a model.

  Args:
    name: of `MODELS`.
    count: number of examples.
  """
  rng = np.random.default_rng(0)
  labels = rng.integers(0, CLASSES, count)
  if name in ('LSTM', 'BidirectionalLSTM', 'Transformer'):
    return rng.integers(0, WORDS, (count, TOKENS)).astype(np.int32), labels
  images = rng.uniform(0, 255, (count, *IMAGE)).astype(np.float32)
  return images / (1 if name in _RESCALING else 255), labels


# Models with a rescaling layer, which expect pixels from 0 to 255.
_RESCALING = (
  'MobileNetV3Small',
  'EfficientNetB0',
  'EfficientNetV2B0',
  'ConvNeXtTiny',
  'preprocessing',
)
