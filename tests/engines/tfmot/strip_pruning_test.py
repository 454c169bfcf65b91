"""strip_pruning: every kind of model comes back without wrappers."""

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import subclassed, toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude
strip_pruning = tf_unilth.strip_pruning


def _schedule(target=0.8, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def test_a_subclassed_model_is_pruned_stripped_and_exported(tmp_path):
  model = subclassed.Subclassed(_schedule())
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
  model = keras.Sequential([layers.Input((8,)), subclassed.Block(_schedule())])
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
