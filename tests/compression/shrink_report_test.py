"""shrink_report: what would go, layer by layer, and what cannot."""

import tf_keras as keras

import tf_unilth
from tests.testing import shrinkable

layers = keras.layers


def _row(report, name):
  (row,) = [row for row in report.layers if row.name == name]
  return row


def test_it_says_what_shrink_does():
  model = shrinkable.resnet()
  shrinkable.randomize(model)
  shrinkable.zero_units(model, 0.5)
  report, smaller = tf_unilth.shrink_report(model), tf_unilth.shrink(model)
  assert report.weights == model.count_params()
  assert report.weights_kept == smaller.count_params()
  after = tf_unilth.shrink_report(smaller)
  assert (after.flops, after.weights) == (
    report.flops_kept,
    report.weights_kept,
  )
  for row in report.layers:
    layer = smaller.get_layer(row.name)
    assert row.weights_kept == layer.count_params()
    assert row.channels_kept == layer.output_shape[-1]


def test_it_says_what_is_pinned_and_why():
  x = layers.Input((4, 6))
  y = layers.Dense(8, name='read')(x)
  y = layers.LSTM(3, name='lstm')(y)
  one, two = layers.Dense(4, name='free')(y), layers.Dense(2, name='half')(y)
  y = layers.Dense(2, name='head')(layers.concatenate([one, two]))
  report = tf_unilth.shrink_report(keras.Model(x, [y, two]))
  assert _row(report, 'free').pinned == 0
  assert _row(report, 'free').reasons == ()
  reason = 'layers of this type are not traced'
  assert _row(report, 'read').pinned == 8
  assert _row(report, 'read').reasons == (f'read by lstm (LSTM): {reason}',)
  lstm = _row(report, 'lstm')
  assert (lstm.channels, lstm.weights) == (None, lstm.weights_kept)
  assert lstm.flops == 2 * 4 * (8 * 12 + 3 * 12)
  assert lstm.reasons == (reason,)
  assert _row(report, 'half').reasons == ('output of the model',)
  lines = str(report).splitlines()
  assert lines[0].split() == ['layer', 'channels', 'weights', 'FLOPs', 'pinned']
  assert [line.split()[0] for line in lines[2:-2]] == [
    row.name for row in report.layers
  ]
  assert 'free' in lines[4] and '4 -> ' not in lines[4]


def test_flops_of_unknown_sizes_are_unknown():
  model = keras.Sequential([layers.Input((None, 3)), layers.Dense(2)])
  report = tf_unilth.shrink_report(model)
  assert report.flops is report.layers[0].flops is None
  assert '?' in str(report)
