"""layer_tree: which layers are pruned, in which order; masks as on tf_keras."""

import keras
import numpy as np
import pytest
import tf_keras

import tf_unilth
from tf_unilth.algorithms import pruning_scores
from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.engines.keras3 import kernel_table, layer_tree, pruning_plan
from tf_unilth.engines.keras3.engine import Keras3Engine
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.engine import TfmotEngine

pytestmark = pytest.mark.keras3
layers = keras.layers


def _names(model):
  return [name for name, _, _ in layer_tree.model_kernels(model)]


# Models that both Kerases have.


def _branches(package):
  """Two inputs and outputs, a shared layer and a nested model."""
  k = package.layers
  first, second = k.Input((4,), name='first'), k.Input((4,), name='second')
  x = k.Dense(3, name='z')(first)
  y = k.Dense(3, name='y2')(k.Dense(5, name='y')(second))
  shared = k.Dense(3, name='shared')
  joined = k.Concatenate()([shared(x), shared(y), k.Dense(2, name='late')(x)])
  inner = package.Sequential(
    [k.Dense(3, name='in_1'), k.Dense(2, name='in_2')], name='inner'
  )
  outputs = [k.Dense(1, name='a')(inner(joined)), k.Dense(2, name='b')(joined)]
  return package.Model([first, second], outputs)


def _images(package):
  k = package.layers
  inputs = k.Input((6, 6, 2))
  x = k.Conv2D(4, 3, padding='same', name='conv')(inputs)
  skip = k.BatchNormalization()(x)
  x = k.SeparableConv2D(4, 3, padding='same', name='separable')(skip)
  x = k.Add()([x, skip])
  x = k.DepthwiseConv2D(3)(x)
  x = k.Conv2DTranspose(3, 2, name='transpose')(x)
  return package.Model(inputs, k.Dense(2, name='head')(k.Flatten()(x)))


def _sequences(package):
  k = package.layers
  return package.Sequential(
    [
      k.Input((5,)),
      k.Embedding(7, 4, name='embedding'),
      k.Bidirectional(k.LSTM(3, return_sequences=True, name='rnn'), name='bi'),
      k.TimeDistributed(k.Dense(4), name='each'),
      k.GRU(3, name='gru'),
      k.Dense(2, name='head'),
    ]
  )


def _attention(package):
  k = package.layers
  inputs = k.Input((5, 4))
  x = k.MultiHeadAttention(2, 3, name='attention')(inputs, inputs)
  x = k.LayerNormalization()(k.Add()([x, inputs]))
  x = k.EinsumDense('abc,cd->abd', (None, 6), name='einsum')(x)
  return package.Model(inputs, k.Dense(2, name='head')(x))


_MODELS = (_branches, _images, _sequences, _attention)


def _pair(make):
  """Returns the model of tf_keras and of Keras 3, with equal kernels."""
  found = []
  for package in (tf_keras, keras):
    package.backend.clear_session()
    package.utils.set_random_seed(0)
    found.append(make(package))
  old, new = found
  for (name, weight), (same, kernel, _) in zip(
    prunable_weights.model_kernels(old),
    layer_tree.model_kernels(new),
    strict=True,
  ):
    assert name == same
    # Ties, which are broken by the order.
    kernel.variable.assign(np.round(weight.numpy(), 1))
    weight.assign(np.round(weight.numpy(), 1))
  return old, new


def _engines(make, schedule_arguments, **arguments):
  for model, engine in zip(_pair(make), (TfmotEngine, Keras3Engine)):
    schedule = tf_unilth.IterativeSparsity(**schedule_arguments)
    pruned = tf_unilth.prune_low_magnitude(model, schedule, **arguments)
    pruned.compile('sgd', 'mse')
    yield engine(pruned, tf_unilth.DLTH(verbose=0))


# Random scores depend on the order and the shapes alone.
@pytest.mark.parametrize(
  ('make', 'scores'),
  [
    *((make, pruning_scores.Magnitude()) for make in _MODELS),
    (_branches, pruning_scores.Random(3, 'layer')),
    (_images, pruning_scores.Random(3, 'erk')),
  ],
)
def test_both_engines_choose_equal_masks(make, scores):
  found = []
  for engine in _engines(make, {'target_sparsity': 0.8}):
    pruner = Pruner(engine, 'cubic', scores.ranking_scope)
    pruner.load_masks()
    for number in range(1, 4):
      new = pruner.masks_at(number, 3, scores.weight_scores(engine))
      pruner.apply_masks(new)
    assert pruner.reached_target
    found.append(engine.read_masks())
  for old, new in zip(*found, strict=True):
    np.testing.assert_array_equal(old, new)


def test_both_engines_choose_equal_groups():
  found = []
  scores = pruning_scores.Magnitude()
  for engine in _engines(
    _attention, {'target_sparsity': 0.5}, sparsity_m_by_n=(1, 2)
  ):
    pruner = Pruner(engine, 'cubic', scores.ranking_scope)
    pruner.load_masks()
    found.append(pruner.masks_at(1, 1, scores.weight_scores(engine)))
  for old, new in zip(*found, strict=True):
    assert not old.all()
    np.testing.assert_array_equal(old, new)


def test_a_run_ends_with_the_masks_of_tf_keras():
  found = []
  x = np.random.default_rng(0).normal(size=(16, 5, 4)).astype(np.float32)
  for model in _pair(_attention):
    pruned = tf_unilth.prune_low_magnitude(
      model, tf_unilth.IterativeSparsity(0.8, rounds=2)
    )
    kit = tf_keras if isinstance(model, tf_keras.Model) else keras
    # It trains, but no weight moves by more than its last bits.
    pruned.compile(kit.optimizers.SGD(1e-12), 'mse', jit_compile=False)
    run = tf_unilth.UniLTH(ramp=tf_unilth.L2Ramp(limit=0), verbose=0)
    pruned.fit(
      x,
      np.zeros((16, 5, 2), np.float32),
      batch_size=8,
      epochs=7,
      shuffle=False,
      validation_data=(x, np.zeros((16, 5, 2), np.float32)),
      callbacks=[run],
      verbose=0,
    )
    assert run.reached_target
    stripped = tf_unilth.strip_pruning(pruned)
    if kit is keras:
      kernels = [k.variable for _, k, _ in layer_tree.model_kernels(stripped)]
    else:
      kernels = [k for _, k in prunable_weights.model_kernels(stripped)]
    found.append([np.array(kernel) == 0 for kernel in kernels])
  for old, new in zip(*found, strict=True):
    np.testing.assert_array_equal(old, new)
  assert sum(int(zero.sum()) for zero in found[0]) > 0


# Models of Keras 3.


class _Block(layers.Layer):
  """A user's layer: layers inside as attribute, list and dict; one matrix."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.first = layers.Dense(4, name='first')
    self.listed = [layers.Dense(4, name='second'), layers.ReLU(name='relu')]
    self.named = {'third': layers.Dense(4, name='third')}

  def build(self, input_shape):
    self.matrix = self.add_weight(shape=(input_shape[-1], 4), name='matrix')
    for layer in (self.first, *self.listed, self.named['third']):
      layer.build((None, 4))
    self.built = True

  def call(self, inputs):
    x = self.first(inputs @ self.matrix)
    for layer in self.listed:
      x = layer(x)
    return self.named['third'](x)


class _Subclassed(keras.Model):
  """A subclassed model around a user's layer, a model and a shared layer."""

  def __init__(self):
    super().__init__()
    self.stem = layers.Dense(4, name='stem')
    self.block = _Block(name='block')
    self.tower = keras.Sequential([layers.Dense(4, name='up')], name='tower')
    self.again = self.stem

  def call(self, inputs):
    return self.again(self.tower(self.block(self.stem(inputs))))


def test_the_layers_in_a_users_layer_are_pruned_one_by_one():
  model = keras.Sequential([layers.Input((4,)), _Block(name='block')])
  assert _names(model) == ['first', 'second', 'third']
  found = [layer.name for layer in layer_tree.named_layers(model)]
  assert found == ['block', 'first', 'second', 'relu', 'third']


def test_a_subclassed_model_has_its_layers_in_order_and_once():
  model = _Subclassed()
  assert layer_tree.is_prunable(model) and not kernel_table.is_built(model)
  assert _names(model) == []
  model(np.ones((1, 4), np.float32))
  assert kernel_table.is_built(model)
  assert _names(model) == ['stem', 'first', 'second', 'third', 'up']


def test_layers_of_keras_with_layers_inside_are_one_layer():
  model = _attention(keras)
  found = [layer.name for layer in layer_tree.kernel_layers(model)]
  assert found == ['attention', 'einsum', 'head']
  named = [layer.name for layer in layer_tree.named_layers(model)]
  assert 'query' not in named
  inside = [layer.name for layer in layer_tree.inside(model)]
  assert 'query' in inside


def test_a_functional_subclass_has_the_layers_of_its_attributes():
  class WithHead(keras.Model):
    def __init__(self):
      inputs = layers.Input((3,))
      super().__init__(inputs, layers.Dense(2, name='body')(inputs))
      self.head = layers.Dense(4, name='head')

    def call(self, inputs):
      return self.head(super().call(inputs))

  model = WithHead()
  model(np.ones((1, 3), np.float32))
  assert _names(model) == ['body', 'head']


def test_a_layer_of_two_models_counts_once():
  shared = layers.Dense(3, name='shared')
  inputs = layers.Input((3,))
  inner = keras.Sequential([layers.Input((3,)), shared], name='inner')
  model = keras.Model(inputs, inner(shared(inputs)))
  assert _names(model) == ['shared']


def test_a_kernel_of_two_layers_counts_once():
  class Transposed(layers.Layer):
    def __init__(self, source):
      super().__init__()
      self.source = source

    def get_prunable_weights(self):
      return [self.source.kernel]

    def call(self, inputs):
      return inputs @ keras.ops.transpose(self.source.kernel)

  encoder = layers.Dense(3, name='encoder')
  model = keras.Sequential([layers.Input((4,)), encoder, Transposed(encoder)])
  assert _names(model) == ['encoder']


def test_a_model_that_declares_its_kernels_is_one_layer():
  class Declaring(_Subclassed):
    def get_prunable_weights(self):
      return [self.stem.kernel]

  model = Declaring()
  assert _names(model) == []
  model.built = True
  assert _names(model) == []  # The layers inside are not built.
  model(np.ones((1, 4), np.float32))
  kernels = [kernel for _, kernel, _ in layer_tree.model_kernels(model)]
  assert [kernel.variable for kernel in kernels] == [model.stem.kernel]
  assert not list(layer_tree.named_layers(model))


def test_an_inner_build_that_is_late_is_noticed():
  class Late(keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = layers.Dense(2)

    def build(self, input_shape):
      self.built = True

    def call(self, inputs):
      return self.dense(inputs)

  model = Late()
  model.build((None, 3))
  assert model.built and not kernel_table.is_built(model)
  model(np.ones((1, 3), np.float32))
  assert kernel_table.is_built(model)


def test_a_plan_has_the_kernels_in_that_order():
  model = _branches(keras)
  names = _names(model)
  tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
  plan = pruning_plan.planned(model)
  assert [kernel.name for kernel in plan.kernels] == names
