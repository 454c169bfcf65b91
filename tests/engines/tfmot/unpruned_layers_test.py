"""What stays dense is said: by warnings, in the summary, when fit begins."""

import inspect
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tf_keras.src.layers.rnn import cell_wrappers

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot import prunable_weights, unpruned_layers
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers


def _schedule(target=0.5):
  return tf_unilth.IterativeSparsity(target)


def _model(layer, shape):
  """A model of a layer and a head."""
  inputs = layers.Input(shape)
  x = layers.Flatten()(layer(inputs))
  return keras.Model(inputs, layers.Dense(2, name='head')(x))


def _prune(layer, shape, **arguments):
  model = _model(layer, shape)
  return tf_unilth.prune_low_magnitude(model, _schedule(), **arguments)


def _rows(model):
  return [row.name for row in tf_unilth.sparsity_summary(model).rows]


class _Cell(layers.Layer):
  """A recurrent cell that tells nothing."""

  state_size = 3

  def build(self, input_shape):
    self.matrix = self.add_weight('matrix', (input_shape[-1], 3))

  def call(self, inputs, states):
    outputs = inputs @ self.matrix + states[0]
    return outputs, [outputs]


class _LowRank(layers.Dense):
  """A dense layer with two matrices more."""

  def build(self, input_shape):
    super().build(input_shape)
    self.down = self.add_weight('down', (input_shape[-1], 1))
    self.up = self.add_weight('up', (1, self.units))

  def call(self, inputs):
    return super().call(inputs) + inputs @ self.down @ self.up


class _Normalized(layers.Dense):
  """Weight normalization by hand: its kernel is computed, no variable."""

  def build(self, input_shape):
    shape = (input_shape[-1], self.units)
    self.direction = self.add_weight('direction', shape)
    self.length = self.add_weight('length', (self.units,), initializer='ones')
    self.bias = self.add_weight('bias', (self.units,))
    self._normalize()
    self.built = True

  def _normalize(self):
    norm = tf.norm(self.direction, axis=0)
    self.kernel = self.direction * self.length / norm

  def call(self, inputs):
    self._normalize()
    return super().call(inputs)


class _Telling(_Normalized):
  def get_prunable_weights(self):
    return [self.direction]


class _TellingTensor(_Normalized):
  def get_prunable_weights(self):
    return [self.kernel]


class _TellingNone(_Normalized):
  def get_prunable_weights(self):
    return []


class _Block(layers.Layer):
  """A layer of a user's around one of Keras's."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.dense = layers.Dense(3)

  def call(self, inputs):
    return self.dense(inputs)


class _Doubled(layers.Layer):
  """A layer of a user's without weights."""

  def call(self, inputs):
    return 2 * inputs


def _wide():
  deep = keras.Sequential([layers.Dense(2)])
  linear = keras.experimental.LinearModel(2)
  return keras.experimental.WideDeepModel(linear, deep)


_DENSE = {
  'cell': (lambda: layers.RNN(_Cell()), (4, 3), 'rnn.* dense: a _Cell'),
  'cell in a stack of stacks': (
    lambda: layers.RNN(
      layers.StackedRNNCells(
        [layers.GRUCell(3), layers.StackedRNNCells([_Cell()])]
      )
    ),
    (4, 3),
    'rnn.* dense in part: a _Cell',
  ),
  'in a wrapper of cells': (
    lambda: layers.RNN(cell_wrappers.ResidualWrapper(_Cell())),
    (4, 3),
    'rnn.* dense: a _Cell',
  ),
  'linear': (
    lambda: keras.experimental.LinearModel(2),
    (4,),
    'linear_model.* dense: the weights of a LinearModel',
  ),
  'wide and deep': (_wide, (4,), 'wide_deep_model.* dense: .* WideDeepModel'),
  'low rank': (lambda: _LowRank(3), (4,), 'low_rank.* in part: a _LowRank'),
  'normalized': (lambda: _Normalized(3), (4,), 'normalized.* a _Normalized'),
  'tells a tensor': (
    lambda: _TellingTensor(3),
    (4,),
    'telling_tensor.* dense: a _TellingTensor .*returns variables',
  ),
  'block': (_Block, (4,), 'block.* dense: a _Block'),
  'locally connected': (
    lambda: layers.LocallyConnected1D(3, 2, implementation=2),
    (5, 2),
    'locally_connected1d.* dense: .* implementation=2 .* implementation=1 or 3',
  ),
  'deep inside': (
    lambda: layers.TimeDistributed(
      keras.Sequential([layers.Dense(4), layers.PReLU()])
    ),
    (2, 3, 3),
    'time_distributed.* in part: the weights of a PReLU',
  ),
}


@pytest.mark.parametrize(
  ('make', 'shape', 'message'), _DENSE.values(), ids=_DENSE
)
def test_matrices_that_stay_dense_are_named(make, shape, message):
  layer = make()
  with pytest.warns(UserWarning, match=f'layer .*{message}') as caught:
    model = _prune(layer, shape)
  assert caught[0].filename == __file__  # Where it was wrapped.
  left = tf_unilth.sparsity_summary(model).left
  assert left != ('Flatten',)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    _prune(layer, shape, skip=[layer])


@pytest.mark.parametrize(
  ('make', 'shape', 'message'), _DENSE.values(), ids=_DENSE
)
def test_they_are_named_before_they_are_built_or_once_they_are(
  make, shape, message
):
  layer = make()
  if not prunable_weights.is_prunable(layer):
    with pytest.warns(UserWarning, match='may stay dense'):
      tf_unilth.prune_low_magnitude(
        keras.Sequential([layer, layers.Dense(2)]), _schedule()
      )
    return
  with pytest.warns(UserWarning, match=message):
    (wrapped,) = tf_unilth.prune_low_magnitude([layer], _schedule())
    wrapped(np.zeros((1, *shape), np.float32))


def test_models_of_keras_without_such_layers_are_wrapped_without_a_word():
  inputs = layers.Input((4, 4, 3))
  x = layers.SeparableConv2D(4, 2)(layers.DepthwiseConv2D(2)(inputs))
  x = layers.BatchNormalization()(x)
  x = layers.LayerNormalization(axis=[1, 2, 3])(x)  # Scales of rank 3.
  x = layers.LocallyConnected2D(4, 1)(x)  # Biases of rank 3.
  x = layers.Reshape((4, 4))(_Doubled()(x))
  x = layers.MultiHeadAttention(2, 2)(x, x)  # Biases of rank 2.
  x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
  frozen = layers.PReLU()
  frozen.trainable = False
  model = keras.Model(inputs, layers.Dense(2)(frozen(x)))
  unbuilt = [layers.LSTM(3), _Doubled(), layers.LayerNormalization()]
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    tf_unilth.prune_low_magnitude(model, _schedule())
    lstm, *_ = tf_unilth.prune_low_magnitude(unbuilt, _schedule())
    lstm(np.zeros((1, 2, 3), np.float32))


def test_every_layer_of_keras_is_pruned_or_named():
  documented = unpruned_layers._NORMALIZATIONS + unpruned_layers._DEPTHWISE
  shapes = [(None, *[4] * rank, 3) for rank in range(4)]
  checked = 0
  for kind in vars(layers).values():
    if not inspect.isclass(kind) or issubclass(kind, documented):
      continue
    for arguments in ((), (2,), (2, 2)):
      for shape in shapes:
        try:
          layer, twin = kind(*arguments), kind(*arguments)
          layer.build(shape)
        except Exception:  # It is not made in this way.
          continue
        if not any(
          len(weight.shape) > 1 and 'bias' not in weight.name
          for weight in layer.trainable_weights
        ):
          continue
        checked += 1
        known = prunable_weights.is_prunable(layer)
        assert known == bool(prunable_weights.prunable_weights(layer))
        for either in (layer, twin):
          assert known or unpruned_layers.find(either, wrapped=False), kind
  assert checked > 20


def test_layers_that_share_a_cause_share_a_warning():
  inputs = layers.Input((4, 3))
  x = layers.PReLU(name='one')(inputs)
  x = layers.Dense(2)(layers.PReLU(name='other')(x))
  with pytest.warns(UserWarning, match=r"layers 'one', 'other' stay dense:"):
    tf_unilth.prune_low_magnitude(keras.Model(inputs, x), _schedule())


def test_weights_that_another_layer_prunes_are_pruned():
  class Tied(layers.Layer):
    def __init__(self, other):
      super().__init__()
      self.other = other

    def call(self, inputs):
      return inputs @ tf.transpose(self.other.kernel)

  dense = layers.Dense(2)
  model = keras.Sequential([layers.Input((3,)), dense, Tied(dense)])
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    tf_unilth.prune_low_magnitude(model, _schedule())
  with pytest.warns(UserWarning, match='a _Block does not declare'):
    tf_unilth.prune_low_magnitude(
      keras.Sequential([layers.Input((3,)), _Block(), layers.Dense(2)]),
      _schedule(),
    )


def test_a_single_layer_follows_the_same_rule():
  with pytest.raises(ValueError, match=r'no kernel to prune.*implementation=2'):
    tf_unilth.prune_low_magnitude(
      layers.LocallyConnected2D(2, 2, implementation=2), _schedule()
    )
  with pytest.warns(UserWarning, match='in part: a _LowRank'):
    tf_unilth.prune_low_magnitude(_LowRank(2), _schedule()).build((None, 3))


# Kernels that are no variables.


@pytest.mark.parametrize('kind', [_Normalized, _TellingTensor])
def test_a_computed_kernel_is_no_kernel_anywhere(kind, tmp_path):
  layer = kind(3)
  plain = _model(layer, (4,))
  assert not prunable_weights.prunable_weights(layer)
  assert _rows(plain) == ['head']
  with pytest.warns(UserWarning, match='stays dense'):
    model = tf_unilth.prune_low_magnitude(plain, _schedule())
  assert _rows(model) == ['head']
  stripped = tf_unilth.strip_pruning(model)
  stripped.layers[-1].kernel.assign(np.eye(3, 2))
  assert list(tf_unilth.Ticket.from_model(stripped).masks) == ['head']
  exported = tf_unilth.export_tflite(stripped, tmp_path / 'model.tflite')
  assert exported.difference < 1e-5


def test_what_a_kernel_is_computed_from_is_pruned_where_the_layer_tells_it():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    model = _prune(_Telling(4), (36,))
    _prune(_TellingNone(4), (36,))
    one = _Normalized(4)
    one.get_prunable_weights = lambda: [one.direction]
    alone = _prune(one, (4,))
  assert len(_rows(alone)) == 2
  whole = keras.Sequential([layers.Flatten(input_shape=(6, 6, 1)), model])
  toys.compiled_for_labels(whole)
  toys.fit(whole, tf_unilth.UniLTH(verbose=0), epochs=4)
  zeros = sum(
    np.sum(k.weight.numpy() == 0) for k in PrunedLayers(whole).kernels
  )
  assert zeros == (36 * 4 + 4 * 2) / 2


# LocallyConnected layers.


def test_unused_weights_are_counted_nowhere():
  layer = layers.LocallyConnected2D(2, 3, implementation=2, name='local')
  plain = _model(layer, (6, 6, 1))
  with pytest.warns(UserWarning, match="'local' stays dense"):
    model = tf_unilth.prune_low_magnitude(plain, _schedule())
  toys.compiled_for_labels(model)
  with pytest.warns(UserWarning, match="'local' stays dense"):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=3)
  assert np.all(layer.kernel.numpy() != 0)
  assert 'local (LocallyConnected2D)' in tf_unilth.sparsity_summary(model).left
  stripped = tf_unilth.strip_pruning(model)
  for each in (plain, model, stripped):
    assert _rows(each) == ['head']
  assert list(tf_unilth.Ticket.from_model(stripped).masks) == ['head']


def test_fit_says_nothing_of_what_was_skipped():
  with pytest.warns(UserWarning, match='stays dense'):
    _prune(layer := _LowRank(3), (36,))
  model = _prune(layer, (36,), skip=[layer])
  model = keras.Sequential([layers.Flatten(input_shape=(6, 6, 1)), model])
  toys.compiled_for_labels(model)
  with warnings.catch_warnings():
    warnings.filterwarnings('error', message='.*dense')
    toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=3)


# Spectral normalization.


def test_spectral_normalization_keeps_the_zeros():
  class Watch(keras.callbacks.Callback):
    broken = 0

    def on_train_batch_end(self, batch, logs=None):
      for kernel in PrunedLayers(self.model).kernels:
        self.broken += np.sum(kernel.weight.numpy()[kernel.mask.numpy() == 0])

  layer = layers.SpectralNormalization(layers.Conv2D(4, 3))
  model = toys.compiled_for_labels(_prune(layer, (6, 6, 1)))
  watch = Watch()
  toys.fit(model, tf_unilth.UniLTH(verbose=0), watch, epochs=5)
  assert watch.broken == 0
  summary = tf_unilth.sparsity_summary(model)
  assert [row.name for row in summary.rows] == [layer.name, 'head']
  assert summary.zeros == summary.total_weights / 2
  # It is normalized too: the kernel of the last step was divided by its norm.
  norm = np.linalg.norm(layer.layer.kernel.numpy().reshape(-1, 4), 2)
  assert norm == pytest.approx(1, abs=0.3)
  x, _ = toys.data()
  outputs = model.predict(x, verbose=0)
  stripped = tf_unilth.strip_pruning(model)
  assert tf_unilth.sparsity_summary(stripped).rows == summary.rows
  np.testing.assert_array_equal(stripped.predict(x, verbose=0), outputs)
