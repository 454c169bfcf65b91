"""Random Keras models: what is drawn is a pure function of the seed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.testing import custom_layers, random_layers
from tests.testing.draw import Draw

layers = keras.layers

CLASSES = 4
_WORDS = 30
# Features of a tensor, at most: a case is to take seconds.
_LARGEST = 3000

Wrap = Callable[[layers.Layer], layers.Layer]


@dataclasses.dataclass(frozen=True)
class RandomModel:
  """A model that was drawn.

  Args:
    kind: how it is made.
    model: the model; if it is subclassed, with its layers wrapped.
    inputs: (shape without the batch axis, data type) of each input.
    outputs: how many outputs it has.
  """

  kind: str
  model: keras.Model
  inputs: list[tuple[tuple[int, ...], str]]
  outputs: int = 1

  @property
  def layers(self) -> str:
    """What it consists of, in words."""
    skipped = (layers.InputLayer,)
    return ' '.join(
      random_layers.describe(layer)
      for layer in self.model.layers
      if not isinstance(layer, skipped)
    )

  def data(self, d: Draw, count: int) -> tuple[Any, Any]:
    """Returns random inputs and labels."""
    x = [
      d.rng.integers(0, _WORDS, (count, *shape)).astype(np.int32)
      if dtype == 'int32'
      else d.rng.normal(size=(count, *shape)).astype(np.float32)
      for shape, dtype in self.inputs
    ]
    y = d.rng.integers(0, CLASSES, count)
    labels = [y] * self.outputs if self.outputs > 1 else y
    return x if len(x) > 1 else x[0], labels


def make(d: Draw, wrap: Wrap) -> RandomModel:
  """Returns a random model.

  Args:
    d: what decides.
    wrap: called with each layer that a subclassed model wraps; others are
      returned as they are.
  """
  kind = d.one(
    [
      'sequential',
      'sequential',
      'deferred',
      'functional',
      'functional',
      'functional',
      'functional',
      'nested',
      'nested',
      'subclassed',
    ]
  )
  if kind == 'subclassed':
    return _subclassed(d, wrap)
  if kind in ('sequential', 'deferred'):
    return _sequential(d, kind)
  return _functional(d, kind)


def _input_shape(d: Draw) -> tuple[int, ...]:
  kind = d.one(['vector', 'sequence', 'sequence', 'image', 'image', 'film'])
  side = d.whole(5, 8)
  return {
    'vector': (d.whole(4, 12),),
    'sequence': (d.whole(3, 7), d.whole(2, 6)),
    'image': (side, side + d.whole(0, 1), d.whole(1, 4)),
    'film': (3, 4, 4, 2),
  }[kind]


def _embedding(d: Draw) -> layers.Layer:
  return layers.Embedding(
    _WORDS, d.one([2, 4, 6]), mask_zero=d.chance(0.6), name='words'
  )


def _check_size(shape: Any) -> None:
  if math.prod(size or 1 for size in shape) > _LARGEST:
    raise ValueError(f'{shape} is too large.')


def _to_vector(d: Draw, shape: Any) -> list[layers.Layer]:
  """Returns what leads to (batch, features)."""
  rank = len(shape) - 2
  if rank == 0:
    return []
  if d.chance(0.5):
    return [getattr(layers, f'GlobalAveragePooling{rank}D')()]
  return [layers.Flatten()]


def _head(d: Draw, name: str) -> list[layers.Layer]:
  head = [layers.Dense(CLASSES, name=name)]
  if d.chance(0.3):
    head.append(layers.Activation('linear', dtype='float32'))
  return head


# Sequential.


def _sequential(d: Draw, kind: str) -> RandomModel:
  model = keras.Sequential()
  if d.chance(0.25):
    shape, dtype = (d.whole(3, 7),), 'int32'
    model.add(layers.Input(shape, dtype=dtype))
    model.add(_embedding(d))
  else:
    shape, dtype = _input_shape(d), 'float32'
    model.add(layers.Input(shape))
  for _ in range(d.whole(1, 5)):
    if d.chance(0.15):
      model.add(random_layers.small_model(d, model.output_shape))
    else:
      model.add(random_layers.layer(d, model.output_shape))
    _check_size(model.output_shape[1:])
  for layer in _to_vector(d, model.output_shape) + _head(d, 'head'):
    model.add(layer)
  if kind == 'deferred':
    model = keras.Sequential([_copy(layer) for layer in model.layers])
    if d.chance(0.85):
      model.build((None, *shape))
  return RandomModel(kind, model, [(shape, dtype)])


def _copy(layer: layers.Layer) -> layers.Layer:
  """Returns a layer like it that is not built."""
  return type(layer).from_config(layer.get_config())


# Functional.


def _functional(d: Draw, kind: str) -> RandomModel:
  inputs, tensors = [], []
  for _ in range(2 if d.chance(0.2) else 1):
    if d.chance(0.3):
      inputs.append(layers.Input((d.whole(3, 7),), dtype='int32'))
      embedding = _embedding(d)
      embedding._name += f'_{len(inputs)}'
      tensors.append(embedding(inputs[-1]))
    else:
      inputs.append(layers.Input(_input_shape(d)))
      tensors.append(inputs[-1])
  tensors = [_grow(d, x, kind) for x in tensors]
  vectors = [_apply(x, _to_vector(d, x.shape)) for x in tensors]
  x = layers.concatenate(vectors) if len(vectors) > 1 else vectors[0]
  outputs = [_apply(x, _head(d, 'head'))]
  if d.chance(0.15):
    outputs.append(_apply(vectors[0], _head(d, 'second_head')))
  model = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
  specs = [(tuple(i.shape[1:]), i.dtype.name) for i in inputs]
  return RandomModel(kind, model, specs, len(outputs))


def _apply(x: Any, some: list[layers.Layer]) -> Any:
  for layer in some:
    x = layer(x)
  return x


def _grow(d: Draw, x: Any, kind: str) -> Any:
  for _ in range(d.whole(1, 4)):
    steps = [_plain, _plain, _plain, _residual, _branches, _shared, _operation]
    if kind == 'nested':
      steps = [_plain, _nested, _nested, _shared_model, _inside_and_outside]
    if len(x.shape) == 3:
      steps += [_attention, _states]
    x = d.one(steps)(d, x)
    _check_size(x.shape[1:])
  return x


def _plain(d: Draw, x: Any) -> Any:
  return random_layers.layer(d, x.shape)(x)


def _join(d: Draw, one: Any, other: Any) -> Any:
  """Returns one tensor of two, whatever their shapes."""
  if one.shape == other.shape and d.chance(0.7):
    return d.one([layers.add, layers.multiply, layers.maximum])([one, other])
  if one.shape[:-1] == other.shape[:-1]:
    return layers.concatenate([one, other])
  flat = [_apply(x, _to_vector(d, x.shape)) for x in (one, other)]
  return layers.concatenate(flat)


def _residual(d: Draw, x: Any) -> Any:
  y = random_layers.layer(d, x.shape)(x)
  if y.shape != x.shape and y.shape[:-1] == x.shape[:-1]:
    y = layers.Dense(x.shape[-1])(y)
  return _join(d, x, y)


def _branches(d: Draw, x: Any) -> Any:
  return _join(d, _plain(d, x), _plain(d, x))


def _shared(d: Draw, x: Any) -> Any:
  """A layer that is applied twice."""
  layer = random_layers.layer(d, x.shape)
  y = layer(x)
  return layer(y) if y.shape == x.shape else _join(d, y, layer(x * 0.5))


def _operation(d: Draw, x: Any) -> Any:
  """A TensorFlow function, which Keras makes a layer of."""
  operations = [
    lambda x: x + 1.0,
    lambda x: x * x,
    tf.nn.relu,
    lambda x: tf.concat([x, -x], -1),
    lambda x: tf.roll(x, 1, -1),
    lambda x: x[:, 1:] if x.shape[1] > 2 else x,
    lambda x: tf.stack([x, x], 1) if len(x.shape) == 2 else x,
    lambda x: tf.reduce_mean(x, 1) if len(x.shape) > 2 else x,
    lambda x: tf.transpose(x, [0, 2, 1]) if len(x.shape) == 3 else x,
  ]
  return _plain(d, d.one(operations)(x))


def _model(d: Draw, x: Any) -> keras.Model:
  """Returns a model for tensors like x."""
  if d.chance(0.5):
    return random_layers.small_model(d, x.shape)
  inputs = layers.Input(x.shape[1:])
  y = d.one([_plain, _residual, _branches, _nested])(d, inputs)
  return keras.Model(inputs, y)


def _nested(d: Draw, x: Any) -> Any:
  model = _model(d, x)
  model.trainable = not d.chance(0.15)
  return model(x)


def _shared_model(d: Draw, x: Any) -> Any:
  model = _model(d, x)
  return _join(d, model(x), model(x * 0.5))


def _inside_and_outside(d: Draw, x: Any) -> Any:
  """A layer that a model inside has, and the one around it too."""
  inputs = layers.Input(x.shape[1:])
  layer = random_layers.layer(d, x.shape)
  model = keras.Model(inputs, layers.ReLU()(layer(inputs)))
  return _join(d, model(x), layer(x))


def _attention(d: Draw, x: Any) -> Any:
  options: dict[str, Any] = {'use_bias': d.chance(0.7)}
  if d.chance(0.2):
    options['dropout'] = 0.1
  if d.chance(0.2):
    options['value_dim'] = 3
  if d.chance(0.2):
    options['output_shape'] = 5
  layer = layers.MultiHeadAttention(d.whole(1, 3), d.whole(2, 4), **options)
  if d.chance(0.2):
    return layer(x, x, use_causal_mask=True)
  if d.chance(0.15):
    return layer(query=x, value=x, key=layers.Dense(4)(x))
  if d.chance(0.15):
    y, _ = layer(x, x, return_attention_scores=True)
    return y
  other = random_layers.layer(d, x.shape)(x) if d.chance(0.4) else x
  return layer(x, other if len(other.shape) == 3 else x)


def _states(d: Draw, x: Any) -> Any:
  """A decoder that begins with the state of an encoder."""
  units = d.whole(2, 5)
  kind = d.one([layers.LSTM, layers.GRU, layers.SimpleRNN])
  _, *states = kind(units, return_state=True)(x)
  sequences = d.chance(0.5)
  if d.chance(0.2):
    decoder = layers.Bidirectional(kind(units, return_sequences=sequences))
    return decoder(x, initial_state=[*states, *states])
  decoder = kind(units, return_sequences=sequences)
  return decoder(x, initial_state=states)


# Subclassed.


class Block(layers.Layer):
  """A custom layer that holds one that may be wrapped."""

  def __init__(self, inner: layers.Layer):
    super().__init__()
    self.inner = inner

  def call(self, inputs: Any) -> Any:
    return self.inner(inputs)


class Subclassed(keras.Model):
  """A model whose layers stand in a list, a dictionary and attributes."""

  def __init__(self, body: list[layers.Layer], head: layers.Layer):
    super().__init__()
    self.body = body[1:]
    self.named = {'first': body[0]}
    self.head = head

  def call(self, inputs: Any) -> Any:
    x = self.named['first'](inputs)
    for layer in self.body:
      x = layer(x)
    return self.head(x)


def has_kernels(layer: layers.Layer) -> bool:
  """Returns whether a built layer has kernels, by what Keras calls them."""
  if isinstance(layer, custom_layers.Opaque):
    return False
  return any(
    weight.name.split('/')[-1].split(':')[0] in random_layers.KERNELS
    for weight in layer.weights
  )


def _subclassed(d: Draw, wrap: Wrap) -> RandomModel:
  shape = _input_shape(d)
  x = layers.Input(shape)
  body = []
  for _ in range(d.whole(1, 4)):
    layer = random_layers.layer(d, x.shape)
    x = layer(x)
    _check_size(x.shape[1:])
    body.append(_wrapped(d, layer, wrap))
  body += _to_vector(d, x.shape)
  model = Subclassed(body, wrap(layers.Dense(CLASSES)))
  if d.chance(0.9):
    model.build((None, *shape))
  return RandomModel('subclassed', model, [(shape, 'float32')])


def _wrapped(d: Draw, layer: layers.Layer, wrap: Wrap) -> layers.Layer:
  prunable, is_block = has_kernels(layer), d.chance(0.2)
  if d.chance(0.7):
    layer = _copy(layer)
  if prunable:
    layer = wrap(layer)
  return Block(layer) if is_block else layer
