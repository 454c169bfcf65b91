"""prune_low_magnitude and strip_pruning: what is wrapped, and what is left."""

import re

import keras as keras3
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
  assert 'not wrapped: inner (Dense)' in str(
    tf_unilth.sparsity_summary(wrapped)
  )


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


# strip_pruning.


class _Block(layers.Layer):
  """A custom layer with a wrapped one inside."""

  def __init__(self, schedule):
    super().__init__()
    self.dense = prune_low_magnitude(layers.Dense(8), schedule)

  def call(self, inputs):
    return self.dense(inputs)


class _Subclassed(keras.Model):
  def __init__(self, schedule):
    super().__init__()
    self.flatten = layers.Flatten()
    self.one = prune_low_magnitude(layers.Dense(8), schedule)
    self.some = [prune_low_magnitude(layers.Dense(8), schedule)]
    self.named = {'a': prune_low_magnitude(layers.Dense(8), schedule)}
    self.network = prune_low_magnitude(
      keras.Sequential([layers.Dense(8, input_shape=(8,))]), schedule
    )
    self.block = _Block(schedule)
    self.head = layers.Dense(2)

  def call(self, inputs):
    x = self.one(self.flatten(inputs))
    for layer in [*self.some, self.named['a'], self.network, self.block]:
      x = layer(x)
    return self.head(x)


def test_a_subclassed_model_is_pruned_stripped_and_exported(tmp_path):
  model = _Subclassed(_schedule())
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=5)
  x, _ = toys.data()
  outputs = model.predict(x, verbose=0)
  stripped = strip_pruning(model)
  assert stripped is model
  assert not PrunedLayers(model).kernels
  model.predict_function = None
  np.testing.assert_array_equal(model.predict(x, verbose=0), outputs)
  found = tf_unilth.sparsity_summary(model)
  wrapped = found.total_weights - 16  # The head is not.
  assert found.zeros == round(0.8 * wrapped)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export', x)
  assert exported.output_difference < 1e-6
  model.save_weights(str(tmp_path / 'weights'))  # Keras's books are in order.


def test_a_wrapper_in_a_custom_layer_of_a_network_is_stripped():
  model = keras.Sequential([layers.Input((8,)), _Block(_schedule())])
  assert not PrunedLayers(strip_pruning(model)).kernels


def test_a_subclassed_model_inside_of_a_functional_one_is_stripped():
  class Inside(keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = prune_low_magnitude(layers.Dense(3), _schedule())

    def call(self, inputs):
      return self.dense(inputs)

  inputs = layers.Input((4,))
  model = keras.Model(inputs, layers.Dense(2)(Inside()(inputs)))
  x = np.ones((2, 4), np.float32)
  outputs = model(x)
  stripped = strip_pruning(model)
  assert not PrunedLayers(stripped).kernels
  np.testing.assert_array_equal(stripped(x), outputs)


def test_tfmots_own_strip_takes_networks():
  model = prune_low_magnitude(toys.nested(), _schedule())
  stripped = tfmot.sparsity.keras.strip_pruning(model)
  assert not PrunedLayers(stripped).kernels
  x, _ = toys.data()
  np.testing.assert_array_equal(stripped(x), model(x))


# Bad input.


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (
      lambda: prune_low_magnitude(_three(), _schedule(), skip=['lsat']),
      r"skip names 'lsat', which is no layer of .*\['last'\]",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'no': 0.1}),
      "targets names 'no'",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={'flatten': 0.1}
      ),
      "targets names 'flatten'",
    ),
    (
      lambda: prune_low_magnitude(_three(), targets={'last': 0.1}),
      "targets of 'last' must be a schedule, but is 0.1",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'last': 1}),
      r'target_sparsity must be in \[0, 1\), but is 1',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=re.compile('lsat')
      ),
      "skip has the pattern 'lsat', which matches no layer of",
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=[lambda layer: False]
      ),
      'skip has <function .*, which is true of no layer of',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), targets={re.compile('t$'): 0.5, 'last': 0.2}
      ),
      "targets names 'last' twice",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={re.compile('flatten'): 0.1}
      ),
      'targets has .*, which must match a layer with a kernel to prune',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), block_size=(2, 1), sparsity_m_by_n=(2, 4)
      ),
      r'block_size and sparsity_m_by_n exclude each other',
    ),
    (
      lambda: prune_low_magnitude(keras.experimental.LinearModel(2)),
      'a LinearModel, a subclassed model.* Dense layer does',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=['first', 'block', 'last']
      ),
      'has nothing to prune',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=['last'], targets={'last': 0.5}
      ),
      r"skip and targets must differ, but both name \['last'\]",
    ),
    (
      lambda: prune_low_magnitude(
        keras.Sequential([layers.Input((4,)), *[layers.Dense(4, name='r')] * 2])
      ),
      r"applies more than once, \['r'\]",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={'conv2d': 0.5}, block_size=(2, 1)
      ),
      r"kernels divide into units of .* but names \['conv2d'\]",
    ),
    (
      lambda: prune_low_magnitude(
        prune_low_magnitude(_three(), _schedule()),
        _schedule(),
        skip=['prune_low_magnitude_last'],
      ),
      'which is wrapped already',
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'last': '1'}),
      "targets of 'last': target_sparsity must be a number",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), block_size=(1.5, 2)),
      r'block_size must be two whole numbers, but is \(1.5, 2\)',
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), sparsity_m_by_n='2:4'),
      "sparsity_m_by_n must be two whole numbers, but is '2:4'",
    ),
    (
      lambda: prune_low_magnitude(layers.Dense(2), _schedule(), skip=['x']),
      'skip and targets are for models',
    ),
    (
      lambda: prune_low_magnitude(layers.ReLU(), _schedule()),
      'to_prune is a ReLU, which has no kernel',
    ),
    (
      lambda: prune_low_magnitude(_Subclassed(_schedule()), _schedule()),
      'to_prune is a _Subclassed, a subclassed model',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), sparsity_m_by_n=(4, 2)
      ),
      r'sparsity_m_by_n must be \(m, n\)',
    ),
  ],
)
def test_bad_input_is_named(call, message):
  keras.backend.clear_session()  # So that layers have their plain names.
  with pytest.raises(ValueError, match=message):
    call()


def test_what_is_no_model_is_refused():
  for function in (
    lambda: prune_low_magnitude('model', _schedule()),
    lambda: strip_pruning(layers.Dense(2)),
  ):
    with pytest.raises(TypeError, match='must be a tf_keras'):
      function()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'skip': 5}, 'skip must be layers or names of layers, but is 5'),
    ({'pruning_policy': 'x'}, 'pruning_policy must be a tfmot Pruning'),
    ({'skip': layers.Dense}, 'skip must be layers or names of layers'),
    ({'skip': [re.compile(b'x')]}, 'but has re.compile.*Compiled regular'),
    (
      {'skip': [keras3.layers.Dense(2)]},
      '(?s)skip must be a tf_keras.Layer.*Keras 3',
    ),
    ({'targets': []}, 'targets must be a dict'),
    ({'skip': [5]}, 'skip must be layers or names of layers, but has 5'),
    ({'targets': ['last']}, 'targets must be a dict'),
    ({'skp': ['last']}, r"single layer for the arguments \['skp'\]"),
  ],
)
def test_arguments_of_another_kind_are_refused(arguments, message):
  with pytest.raises(TypeError, match=message):
    prune_low_magnitude(_three(), _schedule(), **arguments)


def test_a_name_means_all_layers_that_have_it():
  inner = [
    keras.Sequential([layers.Dense(8, input_shape=(8,), name='proj')])
    for _ in range(2)
  ]
  model = keras.Sequential(
    [layers.Input((8,)), *inner, layers.Dense(2, name='head')]
  )
  wrapped = prune_low_magnitude(model, _schedule(), skip='proj')
  assert _wrapped_names(wrapped) == ['head']


def test_what_is_no_schedule_is_refused():
  with pytest.raises(TypeError, match=r'pruning_schedule must be .* is 0.9'):
    prune_low_magnitude(_three(), 0.9)


@pytest.mark.parametrize('pooling', ['MIN', None, np.ones(2), tf.constant(1.0)])
def test_a_pooling_is_looked_at_where_nothing_is_pooled_too(pooling):
  with pytest.raises(ValueError, match='block_pooling_type must be one of'):
    tf_unilth.prune_low_magnitude(
      toys.dense(),
      tf_unilth.IterativeSparsity(0.5),
      block_pooling_type=pooling,
    )
