"""Groups of channels: what is coupled, what is pinned, and what it costs."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing.custom_layers import LowRank
from tf_unilth.engines.tfmot.channel_groups import find_channel_groups

layers = keras.layers


def _image(channels=3):
  return layers.Input((4, 4, channels))


def _group(found, name):
  named = [group for group in found.groups if group.name == name]
  (group,) = named or [g for g in found.groups if name in g.layers]
  return group


def _free(model):
  """Returns the names of the layers of each group that is not pinned."""
  groups = find_channel_groups(model).groups
  return [group.layers for group in groups if not group.pinned.any()]


def _axis(found, layer, weight, axis):
  (result,) = [
    a
    for a in found.axes
    if (a.layer.name, a.weight, a.axis) == (layer, weight, axis)
  ]
  return result


def _on_image(*between):
  """Returns a convolution, the layers between, and a convolution."""
  return keras.Sequential(
    [
      _image(),
      layers.Conv2D(4, 3, padding='same', name='first'),
      *between,
      layers.Conv2D(2, 1, name='last'),
    ]
  )


def test_a_residual_block_is_one_group():
  x = _image()
  y = layers.Conv2D(4, 3, name='one')(x)
  z = layers.Conv2D(6, 1, name='inner')(y)
  z = layers.ReLU()(layers.BatchNormalization(name='norm')(z))
  z = layers.Conv2D(4, 3, padding='same', name='two')(z)
  z = layers.Add()([y, z])
  found = find_channel_groups(
    keras.Model(x, layers.Conv2D(2, 1, name='out')(z))
  )
  assert [group.layers for group in found.groups] == [
    ('one', 'two'),
    ('inner', 'norm'),
    ('out',),
  ]
  one, two = (_axis(found, name, 'kernel', 3) for name in ('one', 'two'))
  np.testing.assert_array_equal(one.units, two.units)
  read = _axis(found, 'out', 'kernel', 2)
  assert read.role == 'reads' and one.role == 'creates'
  np.testing.assert_array_equal(one.units, read.units)
  for name in ('gamma', 'beta', 'moving_mean', 'moving_variance'):
    axis = _axis(found, 'norm', name, 0)
    assert axis.role == 'owns'
    np.testing.assert_array_equal(axis.units, _group(found, 'inner').units)


def test_flatten_repeats_the_channels_for_each_pixel():
  model = keras.Sequential(
    [
      layers.Conv2D(3, 3, input_shape=(4, 4, 1), name='conv'),
      layers.Flatten(),
      layers.Dense(2, name='head'),
    ]
  )
  found = find_channel_groups(model)
  units = _group(found, 'conv').units
  np.testing.assert_array_equal(
    _axis(found, 'head', 'kernel', 0).units, np.tile(units, 4)
  )


def test_concatenate_joins_and_a_sum_of_joined_channels_unites():
  x = layers.Input((5,))
  one, two = layers.Dense(2, name='one')(x), layers.Dense(3, name='two')(x)
  joined = layers.concatenate([one, two])
  wide = layers.Dense(5, name='wide')(x)
  found = find_channel_groups(
    keras.Model(x, layers.Dense(1)(layers.maximum([joined, wide])))
  )
  assert _group(found, 'one').layers == ('one', 'two', 'wide')
  np.testing.assert_array_equal(
    _axis(found, 'wide', 'kernel', 1).units,
    np.concatenate(
      [_axis(found, name, 'kernel', 1).units for name in ('one', 'two')]
    ),
  )


def test_depthwise_and_separable_convolutions_multiply_channels():
  model = _on_image(
    layers.DepthwiseConv2D(3, depth_multiplier=2, name='depth'),
    layers.SeparableConv2D(6, 2, name='separable'),
  )
  found = find_channel_groups(model)
  units = _group(found, 'first').units
  for layer, weight, axis, expected in (
    ('depth', 'depthwise_kernel', 2, units),
    ('depth', 'bias', 0, np.repeat(units, 2)),
    ('separable', 'depthwise_kernel', 2, np.repeat(units, 2)),
    ('separable', 'pointwise_kernel', 2, np.repeat(units, 2)),
  ):
    np.testing.assert_array_equal(
      _axis(found, layer, weight, axis).units, expected
    )
  assert _group(found, 'separable').units.size == 6


@pytest.mark.parametrize('is_nested', [False, True])
def test_a_shared_layer_unites_the_channels_of_its_calls(is_nested):
  x, y = layers.Input((3,)), layers.Input((3,))
  one, two = layers.Dense(4, name='one')(x), layers.Dense(4, name='two')(y)
  shared = layers.Dense(5, name='shared')
  if is_nested:
    shared = keras.Sequential([layers.Input((4,)), shared])
  z = layers.concatenate([shared(one), shared(two)])
  found = find_channel_groups(keras.Model([x, y], layers.Dense(1)(z)))
  # Which is first, Keras decides.
  assert set(_group(found, 'one').layers) == {'one', 'two'}
  assert _group(found, 'shared').units.size == 5


def test_wrapped_layers_are_found_with_their_inner_weights():
  plain = _on_image(layers.BatchNormalization(name='norm'))
  wrapped = tf_unilth.prune_low_magnitude(
    plain, tf_unilth.IterativeSparsity(0.5)
  )
  found, expected = find_channel_groups(wrapped), find_channel_groups(plain)
  assert [g.layers for g in found.groups] == [g.layers for g in expected.groups]
  kept = found.all_kept()
  assert found.flops(kept) == expected.flops(kept)
  assert {axis.layer for axis in found.axes} < set(wrapped.submodules)


class _Dense(layers.Dense):
  """It could compute something else than Dense."""


@pytest.mark.parametrize(
  'between',
  [
    layers.Softmax(),
    layers.LayerNormalization(),
    layers.GroupNormalization(1),
    layers.Conv2D(4, 1, groups=2, name='grouped'),
    layers.BatchNormalization(axis=1),
    layers.Permute((3, 1, 2)),
    layers.Reshape((8, 8)),
    layers.Lambda(lambda x: x),
    layers.TimeDistributed(layers.Conv1D(2, 1)),
    _Dense(3),
    LowRank(3),
  ],
  ids=lambda layer: type(layer).__name__,
)
def test_what_is_not_known_pins_its_channels(between):
  model = keras.Sequential(
    [
      *(_image(), layers.Conv2D(4, 3, padding='same', name='first'), between),
      *(layers.Flatten(), layers.Dense(3)),
    ]
  )
  group = _group(find_channel_groups(model), 'first')
  assert group.pinned.all()
  (reason,) = group.reasons
  assert between.name in reason and type(between).__name__ in reason


def test_an_activation_that_reads_all_channels_pins_its_layer():
  model = _on_image()
  model.layers[0].activation = keras.activations.softmax
  group = _group(find_channel_groups(model), 'first')
  assert group.reasons == ("first: activation 'softmax' is not elementwise",)


def test_a_call_in_training_mode_is_not_known():
  x = _image()
  y = layers.Conv2D(4, 3)(x)
  for training, free in ((True, 0), (False, 1)):
    z = layers.BatchNormalization()(y, training=training)
    model = keras.Model(x, layers.Conv2D(2, 1)(z))
    assert len(_free(model)) == free


def test_outputs_are_pinned_also_in_part():
  x = layers.Input((3,))
  one, two = layers.Dense(2, name='one')(x), layers.Dense(2, name='two')(x)
  model = keras.Model(
    x, [layers.Dense(1, name='head')(layers.concatenate([one, two])), two]
  )
  assert _free(model) == [('one',)]
  found = find_channel_groups(model)
  assert found.removable.sum() == 2


@pytest.mark.parametrize(
  ('join', 'groups'),
  [
    (lambda x, y: x + y, [('one', 'two')]),
    (lambda x, y: tf.nn.relu(x) * 2.0 - y, [('one', 'two')]),
    (lambda x, y: tf.nn.softmax(x) + y, []),
    (lambda x, y: tf.concat([x, y], 1), []),
    (lambda x, y: x + tf.ones(4) + y, []),
  ],
)
def test_functions_of_tensorflow(join, groups):
  x = layers.Input((3,))
  y = join(layers.Dense(4, name='one')(x), layers.Dense(4, name='two')(x))
  assert _free(keras.Model(x, layers.Dense(1)(y))) == groups


def test_weights_that_an_unknown_layer_uses_too_are_pinned():
  hidden = layers.Dense(4, name='hidden')

  class Twin(layers.Layer):
    def __init__(self):
      super().__init__()
      self.inner = hidden

    def call(self, inputs):
      return self.inner(inputs)

  x = layers.Input((3,))
  y = layers.Dense(2)(hidden(x))
  found = find_channel_groups(keras.Model(x, [y, Twin()(x)]))
  group = _group(found, 'hidden')
  assert group.pinned.all() and 'weights used by twin' in group.reasons[0]


def test_flops_and_sizes_follow_the_units_that_stay():
  model = keras.Sequential(
    [
      layers.Conv2D(4, 3, padding='same', input_shape=(6, 6, 3), name='conv'),
      layers.DepthwiseConv2D(3, strides=2, padding='same', name='depth'),
      layers.Flatten(),
      layers.Dense(10, name='head'),
    ]
  )
  found = find_channel_groups(model)
  kept = found.all_kept()
  conv, depth = 36 * 9 * 3 * 4, 9 * 9 * 4
  assert found.flops(kept) == 2 * (conv + depth + 36 * 10)
  kept[_group(found, 'conv').units[1:]] = False
  assert found.flops(kept) == (conv + depth + 36 * 10) // 2
  sizes = {
    (layer.name, weight): size
    for (layer, weight), size in found.weight_sizes(kept).items()
  }
  assert sizes == {
    ('conv', 'kernel'): 27,
    ('conv', 'bias'): 1,
    ('depth', 'depthwise_kernel'): 9,
    ('depth', 'bias'): 1,
    ('head', 'kernel'): 90,
    ('head', 'bias'): 10,
  }


def test_flops_of_unknown_layers_and_of_unknown_sizes():
  model = keras.Sequential([layers.Input((7, 3)), layers.LSTM(2)])
  found = find_channel_groups(model)
  assert found.flops(found.all_kept()) == 2 * 7 * (3 * 8 + 2 * 8)
  model = keras.Sequential([layers.Input((None, 3)), layers.Dense(2, name='d')])
  found = find_channel_groups(model)
  with pytest.raises(ValueError, match="FLOPs of layer 'd' are unknown"):
    found.flops(found.all_kept())


def test_a_nested_model_of_any_size_has_the_size_of_its_call():
  nested = keras.Sequential(
    [layers.Input((None, None, 3)), layers.Conv2D(2, 3)]
  )
  x = layers.Input((5, 5, 3))
  model = keras.Model(x, layers.Flatten()(nested(x)))
  found = find_channel_groups(model)
  assert found.flops(found.all_kept()) == 2 * 9 * 9 * 3 * 2


def test_other_models_are_refused():
  class Own(keras.Model):
    def call(self, inputs):
      return -super().call(inputs)

  x = layers.Input((3,))
  for model in (Own(x, layers.Dense(2)(x)), keras.Sequential([_Dense(2)])):
    with pytest.raises(ValueError, match='must be a Sequential or functional'):
      find_channel_groups(model)
