"""Random Keras layers for an input of a given shape."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.testing.custom_layers import LowRank, Opaque
from tests.testing.draw import Draw

layers = keras.layers
Shape = tuple[int | None, ...]

# What tests name as kernels, found by what Keras calls the variables.
KERNELS = (
  'kernel',
  'recurrent_kernel',
  'pointwise_kernel',
  'embeddings',
  'down',
  'up',
)


def _units(d: Draw, shape: Shape) -> int:
  return d.one([2, 4, 6, 8, 8, 12, 12, shape[-1]])


def _options(d: Draw, kernel: str = 'kernel') -> dict[str, Any]:
  """Returns random options that all layers with kernels have."""
  options: dict[str, Any] = {}
  if d.chance(0.1):
    options[f'{kernel}_regularizer'] = d.one(['l2', 'l1', 'l1_l2'])
  if d.chance(0.08):
    options[f'{kernel}_constraint'] = d.one(
      ['max_norm', 'non_neg', 'unit_norm']
    )
  if d.chance(0.06):
    options['activity_regularizer'] = d.one(['l2', 'l1'])
  if d.chance(0.05):
    options['trainable'] = False
  return options


def _kernel_options(d: Draw) -> dict[str, Any]:
  options = _options(d)
  if d.chance(0.25):
    options['use_bias'] = False
  if d.chance(0.4):
    options['activation'] = d.one(['relu', 'tanh', 'gelu', 'swish'])
  return options


# Layers for any shape.


def _dense(d: Draw, shape: Shape) -> layers.Layer:
  return layers.Dense(_units(d, shape), **_kernel_options(d))


def _einsum(d: Draw, shape: Shape) -> layers.Layer:
  units, options = _units(d, shape), _kernel_options(d)
  options.pop('use_bias', None)
  options['bias_axes'] = d.maybe(0.7, 'z')
  outer = 'abcdef'[: len(shape) - 1]
  equation = d.one(
    [f'{outer}y,yz->{outer}z', f'{outer}y,zy->{outer}z', '...y,yz->...z']
  )
  output = (units,) if '...' in equation else (*shape[1:-1], units)
  return layers.EinsumDense(equation, output, **options)


def _normalization(d: Draw, shape: Shape) -> layers.Layer:
  kind = d.whole(0, 5)
  if kind == 0:
    return layers.LayerNormalization(epsilon=d.one([1e-3, 1e-6]))
  if kind == 1:
    return layers.UnitNormalization()
  if kind == 2 and len(shape) > 2:
    return layers.GroupNormalization(d.one([1, -1]))
  if kind == 3 and len(shape) < 5:
    layer = layers.Normalization()
    layer.adapt(d.rng.normal(size=(4, *shape[1:])).astype(np.float32))
    return layer
  return layers.BatchNormalization(scale=d.chance(0.8), center=d.chance(0.8))


def _activation(d: Draw, shape: Shape) -> layers.Layer:
  shared = list(range(1, len(shape) - 1))
  return d.one(
    [
      layers.ReLU,
      layers.LeakyReLU,
      layers.ELU,
      layers.Softmax,
      layers.ThresholdedReLU,
      lambda: layers.PReLU(shared_axes=shared or None),
      lambda: layers.Activation('gelu'),
      lambda: layers.Activation(tf.nn.selu),
    ]
  )()


def _noise(d: Draw, shape: Shape) -> layers.Layer:
  del shape
  return d.one(
    [
      layers.Dropout,
      layers.GaussianNoise,
      layers.GaussianDropout,
      layers.AlphaDropout,
    ]
  )(0.2)


def _odd(d: Draw, shape: Shape) -> layers.Layer:
  return d.one(
    [
      lambda: layers.Rescaling(0.5, offset=0.1),
      lambda: layers.Lambda(lambda x: x * 2),
      lambda: layers.ActivityRegularization(l2=1e-3),
      lambda: Opaque(_units(d, shape)),
      lambda: LowRank(_units(d, shape)),
      lambda: LowRank(_units(d, shape)),
    ]
  )()


# Layers for vectors, (batch, features).


def _unflatten(d: Draw, shape: Shape) -> layers.Layer:
  size = shape[-1]
  divisors = [n for n in range(2, size) if size % n == 0]
  if divisors and d.chance(0.7):
    first = d.one(divisors)
    return layers.Reshape((first, size // first))
  return layers.RepeatVector(d.whole(2, 4))


# Layers for sequences, (batch, steps, features).


def _padding(d: Draw, size: int | None, kernel: int) -> str:
  return (
    'same' if size is None or size < kernel + 2 else d.one(['same', 'valid'])
  )


def _sides(shape: Shape) -> int:
  """Returns the shortest of the axes between batch and channels."""
  return min(shape[1:-1])


def _conv(d: Draw, shape: Shape) -> layers.Layer:
  dimensions, size = len(shape) - 2, d.one([1, 2, 3, 3])
  kinds = {
    1: [layers.Conv1D, layers.Conv1D, layers.Conv1DTranspose],
    2: [layers.Conv2D, layers.Conv2D, layers.Conv2DTranspose],
    3: [layers.Conv3D, layers.Conv3D, layers.Conv3DTranspose],
  }[dimensions]
  kind, options = d.one(kinds), _kernel_options(d)
  if d.chance(0.25):
    options['strides'] = 2
  elif kind is kinds[0] and d.chance(0.15):
    options['dilation_rate'] = 2
    size = min(size, 2)
  filters = d.one([2, 4, 6, 8, 8])
  if kind is kinds[0] and filters % 2 == shape[-1] % 2 == 0 and d.chance(0.2):
    options['groups'] = 2
  padding = _padding(d, _sides(shape), size + 1)
  if kind is layers.Conv1D and d.chance(0.2):
    padding = 'causal'
  return kind(filters, size, padding=padding, **options)


def _depthwise(d: Draw, shape: Shape) -> layers.Layer:
  kind = {3: layers.DepthwiseConv1D, 4: layers.DepthwiseConv2D}[len(shape)]
  return kind(
    2, padding='same', depth_multiplier=d.whole(1, 2), use_bias=d.chance(0.7)
  )


def _separable(d: Draw, shape: Shape) -> layers.Layer:
  kind = {3: layers.SeparableConv1D, 4: layers.SeparableConv2D}[len(shape)]
  return kind(_units(d, shape), 2, padding='same', use_bias=d.chance(0.7))


def _locally_connected(d: Draw, shape: Shape) -> layers.Layer:
  kind = {3: layers.LocallyConnected1D, 4: layers.LocallyConnected2D}
  return kind[len(shape)](d.whole(2, 3), 2, implementation=d.whole(1, 3))


def recurrent(d: Draw, shape: Shape, **options: Any) -> layers.Layer:
  """Returns an LSTM, GRU or SimpleRNN."""
  kind = d.one([layers.LSTM, layers.GRU, layers.SimpleRNN])
  if d.chance(0.15):
    options['dropout'] = 0.2
  if d.chance(0.1):
    options['recurrent_dropout'] = 0.2
  if d.chance(0.1):
    options['go_backwards'] = True
  if d.chance(0.1):
    options['unroll'] = True
  if kind is layers.GRU and d.chance(0.2):
    options['reset_after'] = False
  return kind(_units(d, shape), **{**_options(d), **options})


def _some_recurrent(d: Draw, shape: Shape) -> layers.Layer:
  sequences = d.chance(0.5)
  if d.chance(0.15):
    cells = [
      d.one([layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell])(
        _units(d, shape)
      )
      for _ in range(d.whole(1, 2))
    ]
    return layers.RNN(d.one([cells, cells[0]]), return_sequences=sequences)
  return recurrent(d, shape, return_sequences=sequences)


def _bidirectional(d: Draw, shape: Shape) -> layers.Layer:
  sequences = d.chance(0.5)
  merge = d.one(['concat', 'sum', 'ave', 'mul'])
  layer = d.one([layers.LSTM, layers.GRU, layers.SimpleRNN])(
    _units(d, shape), return_sequences=sequences
  )
  if d.chance(0.2):
    backward = layers.GRU(
      layer.units, return_sequences=sequences, go_backwards=True
    )
    return layers.Bidirectional(
      layer, merge_mode=merge, backward_layer=backward
    )
  return layers.Bidirectional(layer, merge_mode=merge)


def _time_distributed(d: Draw, shape: Shape) -> layers.Layer:
  inner = shape[:1] + shape[2:]
  if d.chance(0.3):
    return layers.TimeDistributed(small_model(d, inner))
  menu = [_dense, _dense, _einsum, _odd]
  if len(inner) == 3:
    menu += [_conv, _conv, recurrent]
  if len(inner) == 4:
    menu += [_conv, _conv, _conv, _separable]
  return layers.TimeDistributed(d.one(menu)(d, inner))


def _pooling(d: Draw, shape: Shape) -> layers.Layer:
  dimensions = len(shape) - 2
  names = ['GlobalAveragePooling', 'GlobalMaxPooling', 'UpSampling']
  if _sides(shape) >= 4:
    names += ['MaxPooling', 'AveragePooling', 'Cropping']
  if _sides(shape) < 8:
    names += ['ZeroPadding']
  return getattr(layers, f'{d.one(names)}{dimensions}D')()


def _reshape(d: Draw, shape: Shape) -> layers.Layer:
  if d.chance(0.3):
    return layers.Flatten()
  if d.chance(0.5):
    axes = list(range(1, len(shape)))
    d.rng.shuffle(axes)
    return layers.Permute(tuple(axes))
  if len(shape) == 3:
    return layers.Reshape((*shape[1:], 1))
  return layers.Reshape((-1, math.prod(shape[2:])))


# Layers for images and for films.


def _augmentation(d: Draw, shape: Shape) -> layers.Layer:
  del shape
  return d.one(
    [
      layers.RandomFlip,
      lambda: layers.RandomRotation(0.1),
      lambda: layers.RandomTranslation(0.1, 0.1),
      lambda: layers.RandomZoom(0.1),
      lambda: layers.RandomContrast(0.1),
      lambda: layers.SpatialDropout2D(0.2),
    ]
  )()


def _conv_lstm(d: Draw, shape: Shape) -> layers.Layer:
  kind = {4: layers.ConvLSTM1D, 5: layers.ConvLSTM2D}[len(shape)]
  return kind(
    d.whole(2, 3),
    2,
    padding='same',
    return_sequences=d.chance(0.4),
    use_bias=d.chance(0.7),
  )


Menu = list[Callable[[Draw, Shape], layers.Layer]]
_ANY: Menu = [
  _dense,
  _dense,
  _einsum,
  _normalization,
  _activation,
  _noise,
  _odd,
]
_MENUS: dict[int, Menu] = {
  2: [*_ANY, _dense, _unflatten],
  3: [
    *_ANY,
    _conv,
    _conv,
    _depthwise,
    _separable,
    _locally_connected,
    _some_recurrent,
    _some_recurrent,
    _some_recurrent,
    _bidirectional,
    _bidirectional,
    _time_distributed,
    _time_distributed,
    _pooling,
    _reshape,
  ],
  4: [
    *_ANY,
    _conv,
    _conv,
    _conv,
    _conv,
    _depthwise,
    _separable,
    _locally_connected,
    _conv_lstm,
    _time_distributed,
    _time_distributed,
    _augmentation,
    _pooling,
    _pooling,
    _reshape,
  ],
  5: [
    *_ANY,
    _conv,
    _conv,
    _conv,
    _conv_lstm,
    _conv_lstm,
    _time_distributed,
    _time_distributed,
    _pooling,
    _reshape,
  ],
}


def layer(d: Draw, shape: Shape) -> layers.Layer:
  """Returns a random layer for inputs of a shape, batch axis included."""
  return d.one(_MENUS[len(shape)])(d, tuple(shape))


def small_model(d: Draw, shape: Shape) -> keras.Model:
  """Returns a model of one or two layers, or with a model inside."""
  model = keras.Sequential([layers.Input(shape[1:])])
  model.add(_dense(d, shape))
  if d.chance(0.3):
    inner = keras.Sequential([layers.Input(model.output_shape[1:])])
    inner.add(_dense(d, inner.input_shape))
    model.add(inner)
  elif d.chance(0.5):
    model.add(layer(d, model.output_shape))
  return model


def describe(one: Any) -> str:
  """Returns a layer's class, with those of the layers inside."""
  name = type(one).__name__
  if isinstance(one, keras.Model):
    return f'{name}[{" ".join(describe(inner) for inner in one.layers)}]'
  inner = getattr(one, 'layer', None)
  return f'{name}({describe(inner)})' if inner is not None else name
