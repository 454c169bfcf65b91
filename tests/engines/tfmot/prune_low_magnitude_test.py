"""prune_low_magnitude: which layers are wrapped, and which stay dense."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tf_keras.src.layers.rnn import cell_wrappers

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude
strip_pruning = tf_unilth.strip_pruning


def _schedule(target=0.8, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _wrapped_names(model):
  return [kernel.name for kernel in PrunedLayers(model).kernels]


def _three():
  return keras.Sequential(
    [
      layers.Input((8,)),
      layers.Dense(8, name='first'),
      keras.Sequential([layers.Dense(8, name='inner')], name='block'),
      layers.Dense(8, name='last'),
    ]
  )


# What is wrapped.


@pytest.mark.parametrize(
  'layer',
  [
    layers.Rescaling(1 / 255),
    layers.Normalization(mean=0.0, variance=1.0),
    layers.RandomFlip(),
    layers.RandomZoom(0.1),
    layers.Resizing(4, 4),
    layers.Activation('relu'),
    layers.PReLU(),
    layers.GroupNormalization(2),
    layers.BatchNormalization(),
    layers.UnitNormalization(),
    layers.Lambda(lambda x: 2 * x),
    layers.DepthwiseConv2D(2),
  ],
  ids=lambda layer: type(layer).__name__,
)
def test_layers_without_kernels_are_left_and_listed(layer):
  model = keras.Sequential(
    [layers.Input((4, 4, 2)), layer, layers.Flatten(), layers.Dense(2)]
  )
  wrapped = prune_low_magnitude(model, _schedule())
  assert wrapped.layers[0] is layer
  assert _wrapped_names(wrapped) == [model.layers[-1].name]
  assert type(layer).__name__ in str(tf_unilth.sparsity_summary(wrapped))


def test_operations_of_tensorflow_are_left():
  inputs = layers.Input((4,))
  x = tf.nn.relu(inputs * 2.0)[:, :3] + 1.0
  model = keras.Model(inputs, layers.Dense(2, name='head')(x))
  wrapped = prune_low_magnitude(model, _schedule())
  assert _wrapped_names(wrapped) == ['head']
  x = np.ones((2, 4), np.float32)
  np.testing.assert_array_equal(model(x), wrapped(x))


@pytest.mark.parametrize(
  ('layer', 'shape', 'kernels'),
  [
    (layers.EinsumDense('ab,bc->ac', 4), (6,), [(6, 4)]),
    (layers.Conv1DTranspose(4, 3), (6, 2), [(3, 4, 2)]),
    (layers.SeparableConv1D(4, 3), (6, 2), [(1, 2, 4)]),
    (layers.LocallyConnected1D(4, 3), (6, 2), [(4, 6, 4)]),
    (layers.Bidirectional(layers.GRU(3)), (6, 2), [(2, 9), (3, 9)] * 2),
    (
      layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)]),
      (6, 2),
      [(2, 8), (2, 8), (2, 12), (3, 12)],
    ),
    (
      layers.TimeDistributed(
        keras.Sequential([layers.Dense(3, input_shape=(2,)), layers.Dense(4)])
      ),
      (6, 2),
      [(2, 3), (3, 4)],
    ),
    (
      layers.TimeDistributed(
        keras.Sequential(
          [
            layers.Dense(3, input_shape=(2,)),
            keras.Sequential([layers.Dense(4, input_shape=(3,))]),
          ]
        )
      ),
      (6, 2),
      [(2, 3), (3, 4)],
    ),
    (
      layers.ConvLSTM1D(2, 2),
      (4, 6, 1),
      [(2, 1, 8), (2, 2, 8)],
    ),
    (layers.LocallyConnected1D(4, 3, implementation=3), (6, 2), [(96,)]),
    (
      layers.SpectralNormalization(layers.Conv2D(4, 3)),
      (6, 6, 2),
      [(3, 3, 2, 4)],
    ),
    (
      layers.TimeDistributed(layers.SpectralNormalization(layers.Dense(4))),
      (5, 3),
      [(3, 4)],
    ),
    (
      layers.Bidirectional(
        layers.RNN(cell_wrappers.ResidualWrapper(layers.GRUCell(2)))
      ),
      (6, 2),
      [(2, 6), (2, 6)] * 2,
    ),
    (
      layers.RNN(tf.nn.RNNCellResidualWrapper(layers.GRUCell(2))),
      (6, 2),
      [(2, 6), (2, 6)],
    ),
    (
      layers.RNN(
        layers.StackedRNNCells(
          [
            cell_wrappers.DeviceWrapper(layers.LSTMCell(2), '/cpu:0'),
            layers.StackedRNNCells([layers.GRUCell(3), layers.GRUCell(3)]),
          ]
        )
      ),
      (6, 2),
      [(2, 8), (2, 8), (2, 9), (3, 9), (3, 9), (3, 9)],
    ),
  ],
  ids=lambda value: type(value).__name__ if hasattr(value, 'name') else None,
)
def test_kernels_of_more_layers_are_pruned(layer, shape, kernels, tmp_path):
  model = keras.Sequential([layers.Input(shape), layer])
  x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
  outputs = model.predict(x, verbose=0)
  wrapped = prune_low_magnitude(model, _schedule())
  np.testing.assert_array_equal(wrapped.predict(x, verbose=0), outputs)
  found = PrunedLayers(wrapped).kernels
  assert [tuple(kernel.weight.shape) for kernel in found] == kernels
  assert len({kernel.name for kernel in found}) == len(found)
  path = str(tmp_path / 'model.h5')  # Where equal names of weights clash.
  wrapped.save(path)
  reloaded = keras.models.load_model(path)
  np.testing.assert_array_equal(reloaded.predict(x, verbose=0), outputs)


def test_a_subclass_of_a_known_layer_is_known():
  class MyDense(layers.Dense):
    pass

  model = keras.Sequential([MyDense(3, input_shape=(2,), name='mine')])
  assert _wrapped_names(prune_low_magnitude(model, _schedule())) == ['mine']


class _Custom(layers.Layer):
  """Two kernels, one of them in a layer inside that its first call builds."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.inside = layers.Dense(3)

  def build(self, input_shape):
    self.matrix = self.add_weight('matrix', (input_shape[-1], 4))
    super().build(input_shape)

  def call(self, inputs):
    return self.inside(inputs @ self.matrix)


class _Telling(_Custom):
  def get_prunable_weights(self):
    return [self.matrix, self.inside.kernel]


def test_a_custom_layer_tells_its_kernels():
  model = keras.Sequential([layers.Input((2,)), _Telling(name='custom')])
  wrapped = prune_low_magnitude(model, _schedule())
  shapes = [k.weight.shape.as_list() for k in PrunedLayers(wrapped).kernels]
  assert shapes == [[2, 4], [4, 3]]
  unbuilt = prune_low_magnitude(_Telling(), _schedule())
  assert keras.Sequential([layers.Input((2,)), unbuilt]).count_params()


@pytest.mark.parametrize(
  ('layer', 'shape'),
  [
    (_Custom(name='custom'), (2,)),
    (layers.TimeDistributed(_Custom(), name='custom'), (3, 2)),
  ],
  ids=['itself', 'inside'],
)
def test_one_that_does_not_is_left_with_a_warning(layer, shape):
  model = keras.Sequential(
    [layers.Input(shape), layer, layers.Dense(2, name='head')]
  )
  with pytest.warns(UserWarning, match="layer 'custom' stays dense: a _Custom"):
    wrapped = prune_low_magnitude(model, _schedule())
  assert _wrapped_names(wrapped) == ['head']


def test_what_is_wrapped_stays_so_also_by_itself_and_in_lists():
  wrapped = prune_low_magnitude(layers.Dense(2), _schedule())
  for to_prune in (wrapped, [wrapped]):
    with pytest.warns(UserWarning, match='wrapped already and keep'):
      again = prune_low_magnitude(to_prune, _schedule(0.5))
    assert wrapped in (again, *np.atleast_1d(again))


def test_what_is_wrapped_stays_so():
  once = prune_low_magnitude(_three(), _schedule(), skip=['last'])
  twice = prune_low_magnitude(once, _schedule(0.5))
  targets = [k.schedule.target_sparsity for k in PrunedLayers(twice).kernels]
  assert targets == [0.8, 0.8, 0.5]


def test_a_policy_of_tfmot_decides_among_the_layers_with_kernels():
  class Policy(tfmot.sparsity.keras.PruningPolicy):
    def allow_pruning(self, layer):
      return layer.name != 'first'

    def ensure_model_supports_pruning(self, model):
      self.asked = model

  policy, model = Policy(), _three()
  wrapped = prune_low_magnitude(model, _schedule(), pruning_policy=policy)
  assert policy.asked is model
  assert _wrapped_names(wrapped) == ['inner', 'last']
  # The same of layers and of models in a list.
  first, second = layers.Dense(2, name='first'), layers.Dense(2, name='second')
  left, taken, inside = prune_low_magnitude(
    [first, second, model], _schedule(), pruning_policy=policy
  )
  assert left is first and taken.layer is second
  assert _wrapped_names(inside) == ['inner', 'last']
  alone = prune_low_magnitude(second, _schedule(), pruning_policy=policy)
  assert alone.layer is second
  with pytest.raises(ValueError, match="does not allow layer 'first'"):
    prune_low_magnitude(first, _schedule(), pruning_policy=policy)
  with pytest.raises(ValueError, match='pruning_policy does not allow it'):
    prune_low_magnitude(
      model, _schedule(), pruning_policy=policy, targets={'first': 0.1}
    )


def test_a_list_is_wrapped_but_for_layers_without_kernels():
  dense, flatten = layers.Dense(3), layers.Flatten()
  first, second, model = prune_low_magnitude(
    [dense, flatten, _three()], _schedule()
  )
  assert first.layer is dense and second is flatten
  assert _wrapped_names(model) == ['first', 'inner', 'last']


# skip and targets.


def test_skip_takes_names_and_layers_also_of_models_inside():
  model = _three()
  wrapped = prune_low_magnitude(
    model, _schedule(), skip=['inner', model.layers[-1]]
  )
  assert _wrapped_names(wrapped) == ['first']
  wrapped = prune_low_magnitude(model, _schedule(), skip='block')
  assert _wrapped_names(wrapped) == ['first', 'last']
  assert 'left dense: inner (Dense)' in str(tf_unilth.sparsity_summary(wrapped))


def test_skip_takes_patterns_and_functions():
  def left_by(skip):
    wrapped = prune_low_magnitude(_three(), _schedule(), skip=skip)
    names = ['first', 'inner', 'last']
    return [name for name in names if name not in _wrapped_names(wrapped)]

  assert left_by(re.compile('st$')) == ['first', 'last']
  assert left_by(re.compile('nn')) == ['inner']  # Anywhere in the name.
  assert left_by(re.compile('^lock|bloc')) == ['inner']  # A model's as well.
  assert left_by(lambda layer: layer.name < 'j') == ['first', 'inner']
  assert left_by([re.compile('^f'), 'last', 'last']) == ['first', 'last']
  # A string is a whole name, not a pattern.
  with pytest.raises(ValueError, match="names 'la', which is no"):
    left_by('la')


def test_targets_take_patterns_and_functions():
  model = keras.Sequential([layers.Input((8,)), *_three().layers])
  model.add(layers.BatchNormalization(name='last_norm'))
  wrapped = prune_low_magnitude(
    model,
    _schedule(),
    # Of what has no kernel, a pattern says nothing.
    targets={re.compile('last'): 0.1, lambda la: la.name == 'first': 0.2},
  )
  found = {k.name: k.schedule for k in PrunedLayers(wrapped).kernels}
  sparsities = {name: s.target_sparsity for name, s in found.items()}
  assert sparsities == {'first': 0.2, 'inner': 0.8, 'last': 0.1}


def test_targets_are_met_by_each_layer_apart():
  model = prune_low_magnitude(
    _three(), _schedule(0.8, rounds=2), targets={'first': 0.5, 'inner': 0.0}
  )
  model.compile('sgd', 'mse')
  x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
  model.fit(x, x, 8, epochs=5, verbose=0, callbacks=[tf_unilth.LTH(verbose=0)])
  assert [row.zeros for row in tf_unilth.sparsity_summary(model).rows] == [
    32,
    0,
    51,
  ]


def test_a_target_may_be_a_schedule():
  own = tfmot.sparsity.keras.ConstantSparsity(0.3, 1)
  wrapped = prune_low_magnitude(
    _three(), tfmot.sparsity.keras.PolynomialDecay(0, 0.5, 1, 9),
    targets={'last': own},
  )  # fmt: skip
  assert wrapped.layers[-1].pruning_schedule is own


# Structure.


def test_layers_without_such_units_stay_dense_with_a_warning():
  with pytest.warns(UserWarning, match=r'block_size=\(2, 1\) needs a matrix'):
    wrapped = prune_low_magnitude(toys.conv(), _schedule(), block_size=(2, 1))
  assert [k.weight.shape.rank for k in PrunedLayers(wrapped).kernels] == [2]
  with pytest.warns(UserWarning, match=r'sparsity_m_by_n=\(2, 4\) needs'):
    wrapped = prune_low_magnitude(
      toys.conv(), _schedule(0.5), sparsity_m_by_n=(2, 4)
    )
  # The first convolution has but one channel to take two of four of.
  assert len(PrunedLayers(wrapped).kernels) == 2


def test_a_layer_wrapped_alone_that_has_no_blocks_is_named():
  layer = layers.Conv2D(2, 3, name='edges')
  wrapped = prune_low_magnitude(layer, _schedule(), block_size=(2, 2))
  with pytest.raises(
    ValueError, match=r"needs a matrix, but a kernel of layer 'edges' has shape"
  ):
    wrapped.build((None, 6, 6, 1))


@pytest.mark.parametrize('structure', [{'block_size': (4, 1)}, {}])
@pytest.mark.parametrize('make', [tf_unilth.UniLTH, tf_unilth.DLTH])
def test_a_model_of_ours_is_pruned_in_units(make, structure):
  arguments = structure or {'sparsity_m_by_n': (2, 4)}
  model = prune_low_magnitude(toys.dense(), _schedule(0.5), **arguments)
  toys.compiled_for_labels(model)
  toys.fit(model, make(verbose=0), epochs=6)
  kernels = toys.kernels(strip_pruning_of(model))
  assert toys.zeros(kernels) == toys.size(kernels) / 2
  for kernel in kernels:
    fours = kernel.reshape(-1, 4, kernel.shape[1])
    zeros = (fours == 0).sum(1)
    assert set(zeros.ravel()) <= ({0, 4} if structure else {2})


def strip_pruning_of(model):
  """Checks that stripping changes no output; returns the wrapped model."""
  x, _ = toys.data()
  before = model.predict(x, verbose=0)
  np.testing.assert_array_equal(
    strip_pruning(model).predict(x, verbose=0), before
  )
  return model
