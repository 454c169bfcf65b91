"""shrink: what goes, what stays, and that outputs are the same."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import shrinkable
from tests.testing.shrinkable import ALL, KERNELS
from tf_unilth.compression import live_units, output_check
from tf_unilth.engines.tfmot.channel_groups import find_channel_groups

layers = keras.layers
applications = keras.applications


def _difference(model, smaller, seed=7):
  """Returns the largest relative difference of the outputs."""
  inputs = output_check.made_up_inputs(model, seed)
  one, other = (
    np.asarray(tf.nest.flatten(m(inputs, training=False))[0], np.float64)
    for m in (model, smaller)
  )
  return np.abs(one - other).max() / np.abs(one).max()


def _widths(model):
  return [
    layer.units if isinstance(layer, layers.Dense) else layer.filters
    for layer in model.layers
    if isinstance(layer, layers.Dense | layers.Conv1D | layers.Conv2D)
  ]


@pytest.mark.parametrize(
  ('build', 'roles'),
  [
    (shrinkable.vgg, ALL),
    (shrinkable.resnet, ALL),
    (shrinkable.densenet, ALL),
    (shrinkable.encoder, KERNELS),
  ],
)
def test_networks_lose_what_was_zeroed(build, roles):
  model = build()
  shrinkable.randomize(model)
  kept = shrinkable.zero_units(model, 0.5, roles)
  smaller = tf_unilth.shrink(model)
  assert _difference(model, smaller) < 1e-5
  found = find_channel_groups(model)
  # At least what was zeroed: units without readers die too.
  sizes = find_channel_groups(smaller)
  assert sizes.flops(sizes.all_kept()) <= found.flops(kept)
  assert sizes.flops(sizes.all_kept()) < found.flops(found.all_kept())
  assert [layer.name for layer in smaller.layers] == [
    layer.name for layer in model.layers
  ]


@pytest.mark.long
@pytest.mark.parametrize(
  ('name', 'roles'), [('MobileNetV2', KERNELS), ('EfficientNetB0', ALL)]
)
def test_networks_of_keras(name, roles):
  model = getattr(applications, name)(
    input_shape=(32, 32, 3), weights=None, classes=5
  )
  shrinkable.randomize(model)
  kept = shrinkable.zero_units(model, 0.5, roles)
  smaller = tf_unilth.shrink(model)
  assert _difference(model, smaller) < 1e-5
  if roles == ALL:
    found, sizes = find_channel_groups(model), find_channel_groups(smaller)
    assert sizes.flops(sizes.all_kept()) == found.flops(kept)


def _sequential(*stack):
  model = keras.Sequential(list(stack))
  shrinkable.randomize(model)
  return model


def _set_zero(layer, units):
  """Zeros what a layer's kernel computes for some units."""
  kernel, *others = layer.get_weights()
  kernel[..., units] = 0
  layer.set_weights([kernel, *others])


@pytest.mark.parametrize(
  'last',
  [
    lambda: layers.Conv2D(3, 1, padding='same', use_bias=False),
    lambda: layers.Conv2D(3, 3, use_bias=False, activation='relu'),
    lambda: layers.SeparableConv2D(3, 2, use_bias=False),
    lambda: layers.Conv2DTranspose(3, 1),
  ],
)
def test_constants_move_into_the_bias_of_their_readers(last):
  model = _sequential(
    layers.Conv2D(6, 3, input_shape=(6, 6, 2)),
    layers.BatchNormalization(),
    layers.Activation('sigmoid'),
    layers.DepthwiseConv2D(2, activation='tanh'),
    last(),
  )
  _set_zero(model.layers[0], slice(0, 4))
  smaller = tf_unilth.shrink(model)
  assert smaller.layers[0].filters == 2 and smaller.layers[-1].use_bias
  assert _difference(model, smaller) < 1e-5


@pytest.mark.parametrize(
  'reader',
  [
    lambda: [layers.Conv2D(3, 3, padding='same')],
    lambda: [layers.Conv2DTranspose(3, 2)],
    lambda: [layers.ZeroPadding2D(), layers.Conv2D(3, 1)],
    lambda: [layers.DepthwiseConv2D(3, padding='same'), layers.Conv2D(3, 1)],
    lambda: [layers.LayerNormalization(), layers.Conv2D(3, 1)],
  ],
)
def test_constants_stay_where_padding_or_others_read_them(reader):
  model = _sequential(
    layers.Conv2D(4, 1, input_shape=(5, 5, 2), activation='sigmoid'), *reader()
  )
  _set_zero(model.layers[0], slice(0, 3))
  smaller = tf_unilth.shrink(model)
  assert smaller.layers[0].filters == 4
  model.layers[0].bias.assign([0, 0, 0, 1])
  model.layers[0].activation = keras.activations.relu
  expected = 4 if isinstance(model.layers[1], layers.LayerNormalization) else 1
  assert tf_unilth.shrink(model).layers[0].filters == expected


def test_units_that_no_one_reads_go_with_what_they_alone_read():
  model = _sequential(
    layers.Dense(4, 'relu', input_shape=(3,)),
    layers.Dense(5, 'relu'),
    layers.Dense(2),
  )
  kernel, bias = model.layers[1].get_weights()
  kernel[0, 1:] = 0  # Unit 0 is read by unit 0 alone,
  model.layers[1].set_weights([kernel, bias])
  kernel, bias = model.layers[2].get_weights()
  kernel[0] = 0  # which nobody reads.
  model.layers[2].set_weights([kernel, bias])
  smaller = tf_unilth.shrink(model)
  assert _widths(smaller) == [3, 4, 2]
  assert _difference(model, smaller) < 1e-6


def test_each_layer_keeps_a_channel_and_widths_are_multiples():
  model = _sequential(
    layers.Dense(20, 'relu', input_shape=(3,)),
    layers.Dense(9, 'relu'),
    layers.Dense(2, kernel_initializer='zeros'),
  )
  assert _widths(tf_unilth.shrink(model)) == [1, 1, 2]
  smaller = tf_unilth.shrink(model, multiple_of=8)
  assert _widths(smaller) == [8, 8, 2]
  assert _widths(tf_unilth.shrink(model, multiple_of=16)) == [16, 9, 2]
  assert _difference(model, smaller) < 1e-6


def test_a_shared_layer_folds_only_a_constant_of_all_its_calls():
  x, y = layers.Input((2,)), layers.Input((2,))
  one = layers.Dense(3, 'sigmoid', name='one')
  two = layers.Dense(3, 'sigmoid', name='two')
  shared = layers.Dense(2, name='shared')
  model = keras.Model(
    [x, y], layers.Subtract()([shared(one(x)), shared(two(y))])
  )
  for layer in (one, two):
    _set_zero(layer, slice(0, 2))
    layer.bias.assign([0.0, layer is one, 0.5])
  smaller = tf_unilth.shrink(model)
  assert smaller.get_layer('one').units == smaller.get_layer('two').units == 2
  assert _difference(model, smaller) < 1e-6


def test_nested_models_and_reshapes_change_with_their_inputs():
  nested = keras.Sequential(
    [layers.Input((2, 2, 6)), layers.ReLU(), layers.Conv2D(4, 1, name='inner')],
    name='nested',
  )
  x = layers.Input((2, 2, 3))
  y = nested(layers.Conv2D(6, 1, name='outer')(x))
  y = layers.Reshape((4, 4))(y)
  y = layers.Reshape((16,))(y)
  model = keras.Model(x, layers.Dense(2)(y))
  shrinkable.randomize(model)
  shrinkable.zero_units(model, 0.5)
  smaller = tf_unilth.shrink(model)
  inner = smaller.get_layer('nested')
  assert inner.input_shape[-1] == 3 and inner.get_layer('inner').filters == 2
  assert _difference(model, smaller) < 1e-6
  restored = keras.models.Sequential.from_config(inner.get_config())
  assert restored.output_shape == inner.output_shape


def test_a_wrapped_model_shrinks_as_its_stripped_one_and_stays_as_it_is():
  model = tf_unilth.prune_low_magnitude(
    _sequential(layers.Dense(6, 'relu', input_shape=(4,)), layers.Dense(2)),
    tf_unilth.IterativeSparsity(0.5),
  )
  wrapper = model.layers[0]
  before = wrapper.layer.get_weights()
  wrapper.pruning_vars[0][1][:, :4].assign(tf.zeros((4, 4)))
  report = tf_unilth.shrink_report(model)
  np.testing.assert_array_equal(wrapper.layer.get_weights()[0], before[0])
  smaller = tf_unilth.shrink(model)
  assert _widths(smaller) == [2, 2]
  assert report.weights_kept == smaller.count_params() == 4 * 2 + 2 + 2 * 2 + 2
  assert _difference(model, smaller) < 1e-6
  assert wrapper.layer.units == 6


def test_dead_units_of_an_unstructured_ticket_go():
  model = _sequential(
    layers.Input((4, 4)),
    layers.Flatten(),
    layers.Dense(40, 'relu'),
    layers.Dense(20, 'relu'),
    layers.Dense(3),
  )
  shrinkable.zero_weights(model, 0.95)
  smaller = tf_unilth.shrink(model)
  first, second, _ = _widths(smaller)
  assert first < 40 and second < 20
  assert _difference(model, smaller) < 1e-5


def test_data_types_and_trainable_stay_and_it_trains():
  model = _sequential(
    layers.Dense(8, 'relu', input_shape=(3,), dtype='mixed_bfloat16'),
    layers.BatchNormalization(trainable=False),
    layers.Dense(2, dtype='float32'),
  )
  shrinkable.zero_units(model, 0.5)
  smaller = tf_unilth.shrink(model)
  assert smaller.layers[0].units == 4
  assert smaller.layers[0].dtype_policy.name == 'mixed_bfloat16'
  assert not smaller.layers[1].trainable
  smaller.compile('sgd', 'mse')
  smaller.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)


def test_initial_values_of_the_old_shape_do_not_matter():
  table = np.arange(12.0).reshape(4, 3)
  table[:, 0] = 0
  model = keras.Sequential(
    [
      layers.Embedding(
        4,
        3,
        input_length=2,
        embeddings_initializer=keras.initializers.Constant(table),
      ),
      layers.Flatten(),
      layers.Dense(1),
    ]
  )
  smaller = tf_unilth.shrink(model)
  assert smaller.layers[0].output_dim == 2
  assert smaller.layers[2].kernel.shape == (4, 1)


def test_layers_with_statistics_of_their_own_keep_them():
  normalize = layers.Normalization()
  normalize.adapt(np.random.default_rng(0).normal(3, 2, (50, 3)))
  model = _sequential(normalize, layers.Dense(4), layers.Dense(1))
  model.build((None, 3))
  shrinkable.zero_units(model, 0.5)
  assert _difference(model, tf_unilth.shrink(model)) < 1e-6


def test_a_wrong_model_is_not_returned(monkeypatch):
  model = _sequential(
    layers.Dense(4, 'relu', input_shape=(3,)), layers.Dense(2)
  )

  def all_but_one(groups, readers):
    del readers
    live = groups.all_kept()
    live[groups.groups[0].units[0]] = False
    return live

  monkeypatch.setattr(live_units, 'live_units', all_but_one)
  with pytest.raises(RuntimeError, match=r'differs by .* more than 1e-05'):
    tf_unilth.shrink(model)


def test_what_cannot_be_compared_is_a_warning():
  words = keras.Sequential(
    [
      layers.Input((), dtype='string'),
      layers.StringLookup(vocabulary=['a', 'b'], output_mode='one_hot'),
      layers.Dense(4),
      layers.Dense(2),
    ]
  )
  with pytest.warns(UserWarning, match='random inputs: .* type is string'):
    assert tf_unilth.shrink(words).layers[1].units == 4
  x = layers.Input((3,))
  model = keras.Model(x, layers.Dropout(0.5)(layers.Dense(4)(x), training=True))
  with pytest.warns(UserWarning, match='outputs are random'):
    tf_unilth.shrink(model)


def test_other_arguments_are_errors():
  model = _sequential(layers.Dense(2, input_shape=(3,)))
  with pytest.raises(ValueError, match='multiple_of must be a whole number'):
    tf_unilth.shrink(model, multiple_of=0)
  with pytest.raises(TypeError, match='model must be a tf_keras'):
    tf_unilth.shrink([model])
  with pytest.raises(ValueError, match='Sequential or functional'):
    tf_unilth.shrink(keras.Sequential([layers.Dense(2)]))

  class NoConfig(layers.Layer):
    def __init__(self, number):
      super().__init__(name='mine')

  model = keras.Sequential([layers.Input((3,)), NoConfig(object())])
  with pytest.raises(ValueError, match=r"layer 'mine' \(NoConfig\)"):
    tf_unilth.shrink(model)


def test_a_model_inside_with_a_call_of_its_own_keeps_its_weights():
  class Negative(keras.Model):
    def call(self, inputs):
      return -super().call(inputs)

  x = layers.Input((3,))
  inside = Negative(x, layers.Dense(4)(x))
  y = layers.Dense(6, name='free')(inside(layers.Dense(3, name='read')(x)))
  model = keras.Model(x, layers.Dense(2)(y))
  shrinkable.zero_units(model, 0.5)
  smaller = tf_unilth.shrink(model)
  assert smaller.get_layer('read').units == smaller.get_layer('free').units == 3
  assert _difference(model, smaller) < 1e-6


def test_blocks_that_lose_their_positions_are_a_warning(recwarn):
  model = _sequential(
    layers.Dense(9, 'relu', input_shape=(3,), name='first'),
    layers.Dense(5, name='blocks'),
    layers.Dense(2),
  )
  kernel, bias = model.layers[1].get_weights()
  kernel[:4, 1:] = kernel[4:8, :2] = kernel[8:, 2:] = 0
  model.layers[1].set_weights([kernel, bias])
  tf_unilth.shrink(model)
  assert not [w for w in recwarn if 'blocks' in str(w.message)]
  _set_zero(model.layers[0], slice(1, 2))
  with pytest.warns(UserWarning, match='blocks of 4 zeros .* speed: blocks'):
    tf_unilth.shrink(model)
