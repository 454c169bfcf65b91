"""Random Keras 3 models: what is drawn is a pure function of the seed."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tests.testing.draw import Draw

layers = keras.layers
CLASSES = 4
_WORDS = 30
# What Keras calls weights that are pruned.
KERNELS = (*('kernel', 'recurrent_kernel', 'pointwise_kernel', 'embeddings'),)


@dataclasses.dataclass(frozen=True)
class RandomModel:
  """A model that was drawn.

  Args:
    kind: how it is made.
    model: the model, which is built.
    shapes: the shapes of its inputs, without the batch axis.
    words: whether the inputs are numbers of words.
    outputs: how many outputs it has.
  """

  kind: str
  model: keras.Model
  shapes: list[tuple[int, ...]]
  words: bool = False
  outputs: int = 1

  @property
  def layers(self) -> str:
    """What it consists of, in words."""
    return ' '.join(type(layer).__name__ for layer in self.model.layers)

  def data(self, d: Draw, count: int) -> tuple[Any, Any]:
    """Returns random inputs and labels."""
    x = [
      d.rng.integers(0, _WORDS, (count, *shape)).astype(np.int32)
      if self.words
      else d.rng.normal(size=(count, *shape)).astype(np.float32)
      for shape in self.shapes
    ]
    y = d.rng.integers(0, CLASSES, count)
    labels = [y] * self.outputs if self.outputs > 1 else y
    return x if len(x) > 1 else x[0], labels


def make(d: Draw) -> RandomModel:
  """Returns a random model."""
  kind = d.one(
    [
      'sequential',
      'functional',
      'functional',
      'nested',
      'subclassed',
      'several',
    ]
  )
  shape = d.one([(10,), (8, 8, 2), (8, 8, 2), (6, 5)])
  if kind == 'sequential' and d.chance(0.2):
    return _of_words(d)
  if kind == 'subclassed':
    model = Subclassed([*_block(d, shape), *_head(d, shape)])
    model(np.zeros((2, *shape), np.float32))
    return RandomModel(kind, model, [shape])
  inputs = layers.Input(shape)
  x = _functional(d, inputs)
  if kind == 'nested':
    x = keras.Sequential(_block(d, tuple(x.shape[1:])))(x)
  if kind == 'several':
    other = layers.Input((3,))
    x = layers.Concatenate()([_flat(x), layers.Dense(4)(other)])
    outputs = [layers.Dense(CLASSES)(x), layers.Dense(CLASSES)(x)]
    model = keras.Model([inputs, other], outputs)
    return RandomModel(kind, model, [shape, (3,)], outputs=2)
  if kind == 'sequential':
    block = [*_block(d, shape), *_head(d, shape)]
    model = keras.Sequential([layers.Input(shape), *block])
    return RandomModel(kind, model, [shape])
  model = keras.Model(inputs, layers.Dense(CLASSES)(_flat(x)))
  return RandomModel(kind, model, [shape])


class Subclassed(keras.Model):
  """Layers that are called in order.

  Its name begins as that of a scope of TensorFlow must, in which Keras puts it.
  """

  def __init__(self, inside: list[Any]):
    super().__init__()
    self.inside = inside

  def call(self, inputs, training=None):
    for layer in self.inside:
      given = {'training': training} if layer._call_has_training_arg else {}
      inputs = layer(inputs, **given)
    return inputs


def _of_words(d: Draw) -> RandomModel:
  cell = d.one([layers.LSTM, layers.GRU, layers.SimpleRNN])(d.one([3, 6]))
  if d.chance(0.4):
    cell = layers.Bidirectional(cell)
  inside = [layers.Embedding(_WORDS, 5), cell, layers.Dense(CLASSES)]
  model = keras.Sequential([layers.Input((6,)), *inside])
  return RandomModel('words', model, [(6,)], words=True)


def _flat(x: Any) -> Any:
  return x if len(x.shape) == 2 else layers.Flatten()(x)


def _head(d: Draw, shape: tuple[int, ...]) -> list[Any]:
  return [layers.Flatten(), layers.Dense(d.one([6, 9])), layers.Dense(CLASSES)]


def _functional(d: Draw, x: Any) -> Any:
  """Returns the output of random layers, with a branch or a sum."""
  for layer in _block(d, tuple(x.shape[1:])):
    x = layer(x)
  if d.chance(0.5) and len(x.shape) == 2:
    x = layers.Add()([x, layers.Dense(x.shape[-1], activation='relu')(x)])
  if d.chance(0.3) and len(x.shape) == 3:
    x = layers.MultiHeadAttention(2, 3)(x, x)
  if d.chance(0.3):
    x = keras.ops.tanh(x)
  return x


def _block(d: Draw, shape: tuple[int, ...]) -> list[Any]:
  """Returns random layers that keep the rank of an input."""
  kinds = {1: _VECTOR, 2: _SEQUENCE, 3: _IMAGE}[len(shape)]
  found = [d.one(kinds)(d)]
  for _ in range(d.whole(1, 3)):
    found.append(d.one([*kinds, *_ANY])(d))
  return found


def _dense(d: Draw) -> Any:
  options: dict[str, Any] = {'use_bias': d.chance(0.8)}
  if d.chance(0.2):
    options['kernel_regularizer'] = 'l2'
  if d.chance(0.1):
    options['kernel_constraint'] = keras.constraints.MaxNorm(2.0)
  activation = d.one([None, 'relu', 'gelu', 'tanh'])
  return layers.Dense(d.one([4, 7, 8]), activation=activation, **options)


def _conv(d: Draw) -> Any:
  kind = d.one(
    [layers.Conv2D, layers.Conv2D, layers.SeparableConv2D]
    + [layers.Conv2DTranspose]
  )
  return kind(d.one([3, 4, 6]), d.one([1, 3, (2, 3)]), padding='same')


_Maker = Callable[[Draw], Any]
_VECTOR: list[_Maker] = [_dense]
_SEQUENCE: list[_Maker] = [
  _dense,
  lambda d: layers.Conv1D(d.one([3, 6]), 3, padding='causal'),
  lambda d: layers.LSTM(d.one([3, 5]), return_sequences=True),
  lambda d: layers.GRU(4, return_sequences=True, reset_after=d.chance(0.5)),
  lambda d: layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True)),
  lambda d: layers.TimeDistributed(_dense(d)),
  lambda d: layers.EinsumDense('abc,cd->abd', (None, d.one([4, 6]))),
]
_IMAGE: list[_Maker] = [
  _conv,
  _conv,
  lambda d: layers.DepthwiseConv2D(3, padding='same'),
  lambda d: layers.MaxPooling2D(2, padding='same'),
]
_ANY: list[_Maker] = [
  lambda d: layers.BatchNormalization(scale=d.chance(0.8)),
  lambda d: layers.LayerNormalization(),
  lambda d: layers.Dropout(0.2),
  lambda d: layers.GaussianNoise(0.1),
  lambda d: layers.Activation(d.one(['relu', 'silu'])),
  lambda d: layers.PReLU(),
]
