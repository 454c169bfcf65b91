"""export_tflite of models in half and double precision."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.export import float32
from tf_unilth.export import tflite_verification as verification
from tf_unilth.export.model_inputs import ModelInputs

layers = keras.layers


def _sparse(model, sparsity=0.9):
  """Prunes every matrix of a model, without a wrapper."""
  for weight in model.weights:
    if len(weight.shape) > 1:
      value = weight.numpy()
      order = np.argsort(np.abs(value).ravel(), kind='stable')
      value.ravel()[order[: round(sparsity * value.size)]] = 0
      weight.assign(value)
  return model


def _run(path, delegates=False, **arrays):
  (outputs,) = verification.outputs_of(path, [arrays], delegates)
  return outputs


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_a_model_in_half_precision_is_written_in_float32(tmp_path, policy):
  keras.mixed_precision.set_global_policy(policy)
  try:
    inputs = layers.Input((6, 6, 1))
    outputs = layers.Activation('linear', dtype='float32')(
      toys.conv()(tf.nn.relu(inputs))
    )
    model = keras.Model(inputs, outputs)
    export = tf_unilth.export_tflite(model, tmp_path / 'a')
    assert keras.mixed_precision.global_policy().name == policy
  finally:
    keras.mixed_precision.set_global_policy('float32')
  assert export.difference <= 1e-5 and 'half precision' in str(export)
  rebuilt = float32.in_float32(model)
  assert {layer.compute_dtype for layer in rebuilt.layers} == {'float32'}
  x, (name,) = toys.data()[0], ModelInputs(rebuilt).specs
  (found,) = _run(export.path, **{name: x}).values()
  y = rebuilt.predict_on_batch(x)
  np.testing.assert_allclose(found, y, atol=1e-5 * np.max(np.abs(y)))


def test_a_subclassed_model_in_half_precision_is_refused(tmp_path):
  class Subclassed(keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = layers.Dense(2, dtype='mixed_bfloat16')

    def call(self, inputs):
      return self.dense(inputs)

  model = Subclassed()
  model(np.ones((2, 3), np.float32))
  with pytest.raises(ValueError, match=r'subclassed.*set_global_policy'):
    tf_unilth.export_tflite(model, tmp_path / 'a')
  assert not os.listdir(tmp_path)


def test_a_model_in_float64_is_written_in_float32(tmp_path):
  model = keras.Sequential(
    [
      layers.Dense(8, 'relu', input_shape=(3,), dtype='float64'),
      layers.BatchNormalization(dtype='float64'),
      layers.Dense(2, dtype='float64'),
    ]
  )
  export = tf_unilth.export_tflite(_sparse(model, 0.5), tmp_path / 'a')
  assert export.difference <= 1e-5 and export.zeros_kept == export.zeros == 20
  assert 'the model computes in float64, the file in float32' in str(export)
  assert [port.dtype for port in export.inputs] == ['float32']
  x = np.random.default_rng(0).normal(size=(4, 3))
  (name,) = ModelInputs(model).specs
  (found,) = _run(export.path, **{name: np.float32(x)}).values()
  np.testing.assert_allclose(found, model.predict_on_batch(x), atol=1e-5)


def test_what_else_computes_in_float64_says_so(tmp_path):
  class Subclassed(keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = layers.Dense(2, dtype='float64')

    def call(self, inputs):
      return self.dense(inputs)

  subclassed = Subclassed()
  subclassed(np.ones((2, 3)))
  with pytest.raises(ValueError, match=r'computes in float64.*subclassed'):
    tf_unilth.export_tflite(subclassed, tmp_path / 'a')
  inputs = layers.Input((3,))
  wide = tf.cast(inputs, tf.float64) * 2
  model = keras.Model(inputs, layers.Dense(2)(tf.cast(wide, tf.float32)))
  with pytest.raises(ValueError, match=r'computes Mul in float64.*tf.cast'):
    tf_unilth.export_tflite(model, tmp_path / 'a')
  assert not os.listdir(tmp_path)


def test_a_rebuilt_model_leaves_the_global_policy_to_set_floatx():
  model = keras.Sequential([layers.Dense(2, input_shape=(3,), dtype='float64')])
  assert float32.in_float32(model).compute_dtype == 'float32'
  keras.backend.set_floatx('float64')
  try:
    assert keras.mixed_precision.global_policy().name == 'float64'
  finally:
    keras.backend.set_floatx('float32')
