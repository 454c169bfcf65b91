"""FLOPs that inspect shows: of a model and of its SavedModel."""

import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tf_unilth import inspection
from tf_unilth.inspection import flops

layers = keras.layers


def _network():
  x = layers.Input((8, 8, 3))
  y = layers.Conv2D(4, 3, name='conv')(x)  # 6 x 6 x 4 outputs
  y = layers.DepthwiseConv2D(3, padding='same', activation='relu')(y)
  y = layers.BatchNormalization()(layers.Dense(5)(y))
  y = layers.Conv2DTranspose(2, 2, strides=2)(y)
  y = layers.Reshape((12, 24))(y)
  y = layers.EinsumDense('bti,iho->btho', (None, 2, 3))(y)
  return keras.Model(x, layers.Dense(7)(layers.Flatten()(y)))


# By hand, in multiply-accumulates.
_MACS = (
  36 * 4 * 27  # Conv2D
  + 36 * 4 * 9  # DepthwiseConv2D
  + 36 * 4 * 5  # Dense, at each of 36 places
  + 36 * 5 * 2 * 4  # Conv2DTranspose
  + 12 * 24 * 6  # EinsumDense
  + 72 * 7  # Dense
)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """The SavedModel of a network."""
  model, folder = _network(), tmp_path_factory.mktemp('saved')
  tf_unilth.export_saved_model(model, folder / 'saved')
  return folder / 'saved'


def test_a_saved_model_has_the_flops_of_its_layers(saved):
  facts = inspection.read(saved).facts
  assert facts['FLOPs a sample'] == f'{2 * _MACS:,}'


def test_a_keras_file_has_the_flops_of_its_layers(tmp_path):
  model = keras.Sequential(
    [layers.Conv2D(4, 3, input_shape=(8, 8, 3)), layers.Flatten()]
  )
  model.save(tmp_path / 'model.keras')
  facts = inspection.read(tmp_path / 'model.keras').facts
  assert facts['FLOPs a sample'] == f'{2 * 36 * 4 * 27:,}'


def test_what_is_unknown_is_told():
  class Module(tf.Module):
    signatures = types.MappingProxyType({})

  assert 'no signature serving_default' in flops.saved_model_flops(Module())
  model = keras.Sequential([layers.Dense(2)])
  assert flops.model_flops(model).startswith('unknown: ')


def test_products_without_weights_and_loops():
  @tf.function(input_signature=[tf.TensorSpec([2, 3, 4])])
  def scores(x):
    x = x @ tf.constant(np.ones((4, 5), np.float32))
    return tf.matmul(x, x, transpose_b=True)

  graph = scores.get_concrete_function().graph
  assert flops._graph_flops(graph, 2) == f'{2 * 3 * 4 * 5}'

  @tf.function(input_signature=[tf.TensorSpec([2, 3])])
  def loop(x):
    return tf.while_loop(lambda x: tf.reduce_sum(x) < 9, lambda x: [x + 1], [x])

  graph = loop.get_concrete_function().graph
  assert 'loops' in flops._graph_flops(graph, 2)
