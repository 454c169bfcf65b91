"""kernel_table: the kernels of each layer type, named as on tf_keras."""

import inspect

import keras
import numpy as np
import pytest
import tf_keras

from tf_unilth.engines.keras3 import kernel_table, layer_tree
from tf_unilth.engines.tfmot import prunable_weights

pytestmark = pytest.mark.keras3
layers = keras.layers

_LINE, _IMAGE = (6, 2), (4, 4, 2)
_FORWARD = 'layer/forward_rnn/stacked_rnn_cells'
_BACKWARD = 'layer/backward_rnn/stacked_rnn_cells'


def _gates(path, inputs, units, gates):
  """Returns the two kernels of a cell."""
  return [
    (f'{path}/kernel', (inputs, gates * units)),
    (f'{path}/recurrent_kernel', (units, gates * units)),
  ]


# Made by the `layers` of either Keras: the input shape, the layer, its kernels.
_CASES = {
  'Dense': ((4,), lambda k: k.Dense(3, name='layer'), [('layer', (4, 3))]),
  'EinsumDense': (
    (4, 5),
    lambda k: k.EinsumDense('abc,cde->abde', (None, 3, 2), name='layer'),
    [('layer', (5, 3, 2))],
  ),
  'Conv1D': (
    _LINE,
    lambda k: k.Conv1D(3, 2, name='layer'),
    [('layer', (2, 2, 3))],
  ),
  'Conv2D': (
    _IMAGE,
    lambda k: k.Conv2D(4, 2, groups=2, name='layer'),
    [('layer', (2, 2, 1, 4))],
  ),
  'Conv3D': (
    (3, 3, 3, 2),
    lambda k: k.Conv3D(3, 2, name='layer'),
    [('layer', (2, 2, 2, 2, 3))],
  ),
  'Conv1DTranspose': (
    _LINE,
    lambda k: k.Conv1DTranspose(3, 2, name='layer'),
    [('layer', (2, 3, 2))],
  ),
  'Conv2DTranspose': (
    _IMAGE,
    lambda k: k.Conv2DTranspose(3, 2, name='layer'),
    [('layer', (2, 2, 3, 2))],
  ),
  'Conv3DTranspose': (
    (3, 3, 3, 2),
    lambda k: k.Conv3DTranspose(3, 2, name='layer'),
    [('layer', (2, 2, 2, 3, 2))],
  ),
  'SeparableConv1D': (
    _LINE,
    lambda k: k.SeparableConv1D(3, 2, name='layer'),
    [('layer', (1, 2, 3))],
  ),
  'SeparableConv2D': (
    _IMAGE,
    lambda k: k.SeparableConv2D(3, 2, name='layer'),
    [('layer', (1, 1, 2, 3))],
  ),
  'DepthwiseConv1D': (_LINE, lambda k: k.DepthwiseConv1D(2), []),
  'DepthwiseConv2D': (_IMAGE, lambda k: k.DepthwiseConv2D(2), []),
  'PReLU': (_LINE, lambda k: k.PReLU(), []),
  'BatchNormalization': (_LINE, lambda k: k.BatchNormalization(), []),
  'Embedding': (
    (6,),
    lambda k: k.Embedding(7, 3, name='layer'),
    [('layer', (7, 3))],
  ),
  'SimpleRNN': (
    _LINE,
    lambda k: k.SimpleRNN(3, name='layer'),
    _gates('layer', 2, 3, 1),
  ),
  'LSTM': (_LINE, lambda k: k.LSTM(3, name='layer'), _gates('layer', 2, 3, 4)),
  'GRU': (_LINE, lambda k: k.GRU(3, name='layer'), _gates('layer', 2, 3, 3)),
  'ConvLSTM1D': (
    (3, 4, 1),
    lambda k: k.ConvLSTM1D(2, 2, name='layer'),
    [('layer/kernel', (2, 1, 8)), ('layer/recurrent_kernel', (2, 2, 8))],
  ),
  'ConvLSTM2D': (
    (3, 4, 4, 1),
    lambda k: k.ConvLSTM2D(2, 2, name='layer'),
    [('layer/kernel', (2, 2, 1, 8)), ('layer/recurrent_kernel', (2, 2, 2, 8))],
  ),
  'Bidirectional': (
    _LINE,
    lambda k: k.Bidirectional(k.LSTM(3, name='rnn'), name='layer'),
    _gates('layer/forward_rnn/lstm_cell', 2, 3, 4)
    + _gates('layer/backward_rnn/lstm_cell', 2, 3, 4),
  ),
  'Bidirectional of two classes': (
    _LINE,
    lambda k: k.Bidirectional(
      k.GRU(3, name='rnn'),
      backward_layer=k.SimpleRNN(3, go_backwards=True),
      name='layer',
    ),
    _gates('layer/gru_cell', 2, 3, 3)
    + _gates('layer/simple_rnn_cell', 2, 3, 1),
  ),
  'Bidirectional of ConvLSTM': (
    (3, 4, 4, 1),
    lambda k: k.Bidirectional(k.ConvLSTM2D(2, 2, name='rnn'), name='layer'),
    [
      ('layer/forward_rnn/kernel', (2, 2, 1, 8)),
      ('layer/forward_rnn/recurrent_kernel', (2, 2, 2, 8)),
      ('layer/backward_rnn/kernel', (2, 2, 1, 8)),
      ('layer/backward_rnn/recurrent_kernel', (2, 2, 2, 8)),
    ],
  ),
  'Bidirectional of cells': (
    _LINE,
    lambda k: k.Bidirectional(
      k.RNN([k.LSTMCell(3, name='a'), k.GRUCell(2, name='b')], name='rnn'),
      name='layer',
    ),
    _gates(f'{_FORWARD}/a', 2, 3, 4)
    + _gates(f'{_FORWARD}/b', 3, 2, 3)
    + _gates(f'{_BACKWARD}/a', 2, 3, 4)
    + _gates(f'{_BACKWARD}/b', 3, 2, 3),
  ),
  'RNN of a cell': (
    _LINE,
    lambda k: k.RNN(k.LSTMCell(3), name='layer'),
    _gates('layer', 2, 3, 4),
  ),
  'RNN of cells': (
    _LINE,
    lambda k: k.RNN(
      [k.LSTMCell(3, name='b'), k.SimpleRNNCell(2, name='a')], name='layer'
    ),
    _gates('layer/b', 2, 3, 4) + _gates('layer/a', 3, 2, 1),
  ),
  'StackedRNNCells': (
    _LINE,
    lambda k: k.RNN(
      k.StackedRNNCells([k.GRUCell(3, name='b'), k.GRUCell(2, name='a')]),
      name='layer',
    ),
    _gates('layer/b', 2, 3, 3) + _gates('layer/a', 3, 2, 3),
  ),
  'TimeDistributed': (
    _LINE,
    lambda k: k.TimeDistributed(k.Dense(3), name='layer'),
    [('layer', (2, 3))],
  ),
  'TimeDistributed of SpectralNormalization': (
    (2, *_IMAGE),
    lambda k: k.TimeDistributed(
      k.SpectralNormalization(k.Conv2D(3, 2)), name='layer'
    ),
    [('layer', (2, 2, 2, 3))],
  ),
}


def _model(package, case):
  shape, make, _ = _CASES[case]
  package.backend.clear_session()
  return package.Sequential([package.Input(shape), make(package.layers)])


def _found(model):
  return [
    (name, tuple(kernel.variable.shape))
    for name, kernel, _ in layer_tree.model_kernels(model)
  ]


@pytest.mark.parametrize('case', _CASES)
def test_kernels_and_names_equal_those_of_tf_keras(case):
  expected = _CASES[case][2]
  assert _found(_model(keras, case)) == expected
  other = prunable_weights.model_kernels(_model(tf_keras, case))
  assert [(name, tuple(w.shape)) for name, w in other] == expected


@pytest.mark.parametrize('case', _CASES)
def test_an_unbuilt_layer_is_known_by_its_class(case):
  _, make, expected = _CASES[case]
  assert layer_tree.is_prunable(make(layers)) == bool(expected)
  assert not list(kernel_table.kernels_of(make(layers)))


def _attention(package, make, value_size=3):
  query, value = package.Input((5, 4)), package.Input((5, value_size))
  return package.Model([query, value], make(package.layers)(query, value))


def test_attention_has_four_kernels_as_on_tf_keras():
  def make(layers):
    return layers.MultiHeadAttention(2, 3, value_dim=6, name='layer')

  expected = [
    ('layer/query/kernel', (4, 2, 3)),
    ('layer/key/kernel', (3, 2, 3)),
    ('layer/value/kernel', (3, 2, 6)),
    ('layer/attention_output/kernel', (2, 6, 4)),
  ]
  assert _found(_attention(keras, make)) == expected
  other = prunable_weights.model_kernels(_attention(tf_keras, make))
  assert [(name, tuple(w.shape)) for name, w in other] == expected


def test_grouped_attention_has_four_kernels():
  def make(layers):
    return layers.GroupQueryAttention(3, 4, 2, name='layer')

  model = _attention(keras, make, value_size=4)
  assert _found(model) == [
    ('layer/query/kernel', (4, 4, 3)),
    ('layer/key/kernel', (4, 2, 3)),
    ('layer/value/kernel', (4, 2, 3)),
    ('layer/attention_output/kernel', (4, 3, 4)),
  ]


# Keras's other layers that create weights: vectors, statistics, states, and
# what only a warning can name.
_WITHOUT_KERNELS = {
  *('BatchNormalization', 'GroupNormalization', 'LayerNormalization'),
  *('RMSNormalization', 'Normalization', 'SpectralNormalization', 'PReLU'),
  *('Attention', 'AdditiveAttention', 'RNN', 'STFTSpectrogram'),
  *('JaxLayer', 'TFSMLayer', 'Layer'),
}


def test_each_layer_of_keras_that_creates_weights_is_known():
  known = tuple(kernel_table._ATTRIBUTES)
  found = set()
  for kind in vars(layers).values():
    if not isinstance(kind, type) or not issubclass(kind, layers.Layer):
      continue
    if 'add_weight(' in inspect.getsource(kind) and not issubclass(kind, known):
      found.add(kind.__name__)
  assert found == _WITHOUT_KERNELS


# Kernels that a user's class declares.


class _Telling(layers.Layer):
  """One matrix of its own, and one in a layer inside."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.inside = layers.Dense(3)

  def build(self, input_shape):
    self.matrix = self.add_weight(shape=(input_shape[-1], 4), name='matrix')
    self.inside.build((None, 4))
    self.built = True

  def get_prunable_weights(self):
    return [self.matrix, self.inside.kernel]

  def call(self, inputs):
    return self.inside(inputs @ self.matrix)


def test_a_layer_that_declares_its_kernels_has_those():
  layer = _Telling(name='layer')
  assert kernel_table.has_own_kernels(layer)
  assert not list(kernel_table.kernels_of(layer))  # Unbuilt: no error.
  model = keras.Sequential([layers.Input((2,)), layer])
  names = [name for name, _ in _found(model)]
  assert names[0] == 'layer/matrix' and names[1].endswith('/kernel')
  assert [shape for _, shape in _found(model)] == [(2, 4), (4, 3)]
  owners = [k.owner for _, k, _ in layer_tree.model_kernels(model)]
  assert owners == [layer, layer]


def test_what_it_declares_beside_variables_is_ignored():
  class Computed(_Telling):
    def get_prunable_weights(self):
      return [keras.ops.abs(self.matrix), self.matrix]

  model = keras.Sequential([layers.Input((2,)), Computed()])
  assert [shape for _, shape in _found(model)] == [(2, 4)]


def test_a_subclass_of_a_known_layer_is_known():
  class MyDense(layers.Dense):
    pass

  model = keras.Sequential([layers.Input((2,)), MyDense(3, name='mine')])
  assert _found(model) == [('mine', (2, 3))]


# Where the inputs of a kernel are.


@pytest.mark.parametrize(
  ('make', 'shape', 'axes'),
  [
    (lambda: layers.Dense(5), (4,), [-2]),
    (lambda: layers.Conv2D(5, 3), (8, 8, 4), [-2]),
    (lambda: layers.SeparableConv2D(5, 3), (8, 8, 4), [-2]),
    (lambda: layers.Conv1DTranspose(5, 3), (8, 4), [-1]),
    (lambda: layers.Conv2DTranspose(5, 3), (8, 8, 4), [-1]),
    (lambda: layers.Conv3DTranspose(5, 3), (8, 8, 8, 4), [-1]),
    (lambda: layers.GRU(5), (8, 4), [-2, -2]),
    (lambda: layers.EinsumDense('ab,cb->ac', 5), (4,), [-1]),
    (lambda: layers.EinsumDense('...x,xyz->...yz', (5, 6)), (7, 4), [-3]),
  ],
)
def test_the_axis_of_the_inputs(make, shape, axes):
  model = keras.Sequential([layers.Input(shape), make()])
  kernels = [kernel for _, kernel, _ in layer_tree.model_kernels(model)]
  assert [kernel_table.input_axis(kernel) for kernel in kernels] == axes


def test_the_axes_of_attention():
  model = _attention(keras, lambda layers: layers.MultiHeadAttention(2, 3))
  kernels = [kernel for _, kernel, _ in layer_tree.model_kernels(model)]
  found = [kernel_table.input_axis(kernel) for kernel in kernels]
  assert found == [-3, -3, -3, -2]


# Kernels that Keras has changed.


def _dense():
  return keras.Sequential(
    [layers.Input((4,)), layers.Dense(6, name='a'), layers.Dense(3, name='b')]
  )


def test_a_kernel_under_lora_is_the_variable():
  model = _dense()
  kernel = model.layers[0].kernel
  model.layers[0].enable_lora(2)
  found = [k for _, k, _ in layer_tree.model_kernels(model)]
  assert found[0].variable is kernel
  assert 'LoRA' in kernel_table.why_fixed(found[0])
  assert kernel_table.why_fixed(found[1]) is None
  model.layers[0].lora_kernel_b.assign(np.ones((2, 6)))
  effective = kernel_table.effective_value(found[0])
  added = keras.ops.convert_to_numpy(effective - kernel.value)
  assert added.any()


@pytest.mark.parametrize('mode', ['int8', 'int4'])
def test_a_quantized_kernel_is_found_with_its_weights(mode):
  model = _dense()
  for layer in model.layers:
    layer.quantize(mode)
  found = [k for _, k, _ in layer_tree.model_kernels(model)]
  assert all('int8' in kernel_table.why_fixed(kernel) for kernel in found)
  shapes = [tuple(kernel_table.effective_value(k).shape) for k in found]
  assert shapes == [(4, 6), (6, 3)]
