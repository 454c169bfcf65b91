"""recipes.costs.export: what it measures, and its table."""

import tf_keras as keras

from recipes.costs import export
from recipes.networks import resnet


def _small():
  return keras.Sequential(
    [keras.layers.Dense(256, input_shape=(256,)), keras.layers.Dense(8)]
  )


def test_the_residual_network_is_that_of_the_recipe():
  measured = export.NETWORKS['resnet20']()
  recipe = resnet.resnet20(keras, (32, 32, 3), 10)
  assert measured.name == recipe.name == 'resnet20'
  assert measured.count_params() == recipe.count_params() == 271_098


def test_a_packed_model_is_smaller_and_each_is_timed(monkeypatch):
  monkeypatch.setitem(export.NETWORKS, 'small', _small)
  found = export.measure('small', 0.95, loads=2, calls=3, batch_size=1)
  assert found['parameters'] == 256 * 256 + 256 + 256 * 8 + 8
  assert found['bytes']['packed'] < found['bytes']['dense']
  for what, count in (('load', 2), ('call', 3)):
    for kind in ('dense', 'packed'):
      assert len(found[what][kind]) == count
      assert min(found[what][kind]) > 0


def test_the_table_has_medians_and_ratios():
  table = export.table(
    'small',
    {
      'bytes': {'dense': 10_000, 'packed': 2500},
      'load': {'dense': [1.0, 2.0, 3.0], 'packed': [2.0, 4.0, 6.0]},
      'call': {'dense': [0.001, 0.001, 0.001], 'packed': [0.002] * 3},
    },
  )
  assert table.splitlines() == [
    'small  dense                      packed                     '
    'packed / dense',
    'bytes  10,000                     2,500                      0.250',
    'load   2,000 ms (1,000 to 3,000)  4,000 ms (2,000 to 6,000)  '
    '2.000 (2.000 to 2.000)',
    'call   1 ms (1 to 1)              2 ms (2 to 2)              '
    '2.000 (2.000 to 2.000)',
  ]
