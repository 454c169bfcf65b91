"""dense_layers: each layer that stays dense is named in a warning."""

import warnings

import keras
import pytest

import tf_unilth
from tests.testing import keras_3_planned as planned

pytestmark = pytest.mark.keras3
layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude


def _image_model(*inner):
  return keras.Sequential(
    [
      layers.Input((4, 4, 2)),
      *inner,
      layers.Flatten(),
      layers.Dense(2, name='head'),
    ]
  )


@pytest.mark.parametrize(
  'make',
  [
    lambda: layers.Rescaling(1 / 255),
    lambda: layers.BatchNormalization(),
    lambda: layers.LayerNormalization((1, 2)),
    lambda: layers.GroupNormalization(2),
    lambda: layers.RMSNormalization(),
    lambda: layers.DepthwiseConv2D(2),
    lambda: layers.SeparableConv2D(2, 2),
    lambda: planned.Biased(),
    lambda: planned.Declared(),
    lambda: layers.TimeDistributed(planned.Declared()),
    lambda: layers.Lambda(lambda x: 2 * x),
  ],
)
def test_what_is_documented_to_stay_dense_causes_no_warning(make):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    model = prune_low_magnitude(_image_model(make()), planned.schedule())
  assert planned.kernels(model)[-1].name == 'head'


@pytest.mark.parametrize(
  ('make', 'words'),
  [
    (
      lambda: layers.PReLU(name='layer'),
      "layer 'layer' stays dense: the weights of a PReLU are not pruned",
    ),
    (
      lambda: planned.Matrix(name='layer'),
      "layer 'layer' stays dense: a Matrix does not declare its kernels. "
      'Give it a get_prunable_weights',
    ),
    (
      lambda: layers.TimeDistributed(planned.Matrix(), name='layer'),
      "layer 'layer' stays dense: a Matrix does not declare",
    ),
    (
      lambda: keras.Sequential([planned.Matrix(name='layer')], name='outer'),
      "layer 'layer' stays dense: a Matrix does not declare",
    ),
  ],
)
def test_other_layers_with_matrices_are_named(make, words):
  with pytest.warns(UserWarning, match=words) as caught:
    model = prune_low_magnitude(_image_model(make()), planned.schedule())
  assert planned.files(caught) == [__file__]
  assert [kernel.name for kernel in planned.kernels(model)] == ['head']
  # One that the user names causes none.
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    prune_low_magnitude(_image_model(make()), planned.schedule(), skip='layer')


def test_layers_with_one_reason_share_a_warning():
  model = _image_model(
    layers.PReLU(name='a'), planned.Matrix(name='b'), layers.PReLU(name='c')
  )
  with pytest.warns(UserWarning) as caught:
    prune_low_magnitude(model, planned.schedule())
  words = [str(warning.message).split(':')[0] for warning in caught]
  assert words == ["layers 'a', 'c' stay dense", "layer 'b' stays dense"]


def test_a_frozen_matrix_causes_no_warning():
  layer = planned.Matrix()
  model = _image_model(layer)
  layer.trainable = False
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    prune_low_magnitude(model, planned.schedule())


@pytest.mark.parametrize('change', ['lora', 'int8', 'int4'])
def test_quantized_and_lora_kernels_stay_as_they_are(change):
  def make():
    model = planned.three()
    if change == 'lora':
      model.layers[0].enable_lora(2)
    else:
      model.layers[0].quantize(change)
    return model

  words = "layer 'first' stays as it is: its kernel is .*Prune before quantize"
  with pytest.warns(UserWarning, match=words) as caught:
    model = prune_low_magnitude(make(), planned.schedule())
  assert planned.files(caught) == [__file__]
  assert [kernel.name for kernel in planned.kernels(model)] == ['inner', 'last']
  with pytest.raises(ValueError, match='targets must name layers whose kern'):
    prune_low_magnitude(make(), planned.schedule(), targets={'first': 0.5})
