"""Exports of Keras 3 models: from TensorFlow and JAX; an error on torch."""

import importlib.util
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_unilth
from tests.testing import keras_3_toys
from tf_unilth import inspection
from tf_unilth.export import tflite_verification as verification

layers = keras.layers
_BACKEND = keras.backend.backend()
pytestmark = pytest.mark.keras3
_exports = pytest.mark.skipif(
  _BACKEND == 'torch', reason='no TensorFlow function of a torch model'
)


def _sparse(model, sparsity=0.9):
  """Gives all matrices of a model random zeros."""
  rng = np.random.default_rng(0)
  model.set_weights(
    [
      rng.normal(size=w.shape) * (rng.random(w.shape) >= sparsity)
      if w.ndim > 1
      else w
      for w in model.get_weights()
    ]
  )
  return model


def _network(library=keras):
  """A network with statistics, in either Keras."""
  of = library.layers
  return library.Sequential(
    [
      of.Input((8, 8, 1), name='images'),
      of.Conv2D(16, 3, padding='same', use_bias=False),
      of.BatchNormalization(),
      of.ReLU(),
      of.Dropout(0.5),
      of.Flatten(),
      of.Dense(64, activation='relu'),
      of.Dense(10),
    ]
  )


def _batch(*shape):
  return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@_exports
def test_a_packed_saved_model_computes_in_tensorflow_what_the_model_does(
  tmp_path,
):
  model, x = _sparse(_network()), _batch(5, 8, 8, 1)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'a', inputs=x)
  assert exported.packed == 2 and exported.ratio > 5
  kernels = [w for w in model.get_weights() if w.ndim > 1]
  zeros = sum(int(np.sum(kernel == 0)) for kernel in kernels)
  assert exported.zeros_kept == exported.zeros == zeros
  assert exported.weight_difference == 0
  loaded = tf.saved_model.load(str(tmp_path / 'a'))
  expected = model.predict_on_batch(x)
  for _ in range(2):  # A call changes no statistics and draws no number.
    np.testing.assert_allclose(loaded.serve(x), expected, rtol=1e-4, atol=1e-4)
  (served,) = loaded.signatures['serving_default'](tf.constant(x[:2])).values()
  np.testing.assert_allclose(served, expected[:2], rtol=1e-4, atol=1e-4)
  # Each value is stored once: no copy of Keras's own.
  size = (tmp_path / 'a/variables/variables.data-00000-of-00001').stat().st_size
  assert size < exported.stored_bytes + 4000


class Subclassed(keras.Model):  # Keras rejects a name that begins with _.
  """A model without known inputs, whose input is a dict."""

  def __init__(self):
    super().__init__()
    self.hidden, self.head = layers.Dense(200), layers.Dense(3)

  def call(self, inputs):
    return {'y': self.head(keras.ops.tanh(self.hidden(inputs['x'])))}


def _functional():
  """A model with ids of an embedding, a second input, and two outputs."""
  ids = layers.Input((4,), dtype='int32', name='ids')
  other = layers.Input((6,), name='other')
  words = layers.Flatten()(layers.Embedding(5, 64)(ids))
  x = layers.Dense(100)(words) + layers.Dense(100)(other)
  return keras.Model([ids, other], [layers.Dense(3)(x), x])


@_exports
@pytest.mark.parametrize('build', [Subclassed, _functional])
def test_inputs_are_found_in_models_of_each_kind(build, tmp_path):
  model = build()
  if build is Subclassed:
    with pytest.raises(ValueError, match='was never called'):
      tf_unilth.export_saved_model(model, tmp_path / 'a')
    model({'x': np.zeros((2, 50), np.float32)})
  exported = tf_unilth.export_saved_model(_sparse(model), tmp_path / 'a')
  assert exported.output_difference < 1e-4 and exported.packed
  # Ids out of the embedding's range would be NaN on JAX, an error elsewhere.
  assert exported.compared_on == 'on made-up inputs'


@_exports
def test_a_tflite_file_is_as_small_as_that_of_tf_keras(tmp_path):
  model = _sparse(_network())
  export = tf_unilth.export_tflite(model, tmp_path / 'a.tflite')
  theirs = _sparse(_network(tf_keras))
  reference = tf_unilth.export_tflite(theirs, tmp_path / 'b.tflite')
  assert export.encoding == reference.encoding == 'sparse'
  assert export.zeros_kept == export.zeros == reference.zeros
  # From JAX, the sizes that depend on the batch are computed in the graph.
  graph = 10_000 if _BACKEND == 'jax' else 0
  assert export.bytes < 1.02 * reference.bytes + graph
  x = _batch(3, 8, 8, 1)
  (found,) = verification.outputs_of(export.path, [{'images': x}], True)
  (values,) = found.values()
  expected = model.predict_on_batch(x)
  np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)


@_exports
def test_a_tflite_file_in_int8_is_calibrated(tmp_path):
  model, x = _sparse(_network()), _batch(64, 8, 8, 1)
  export = tf_unilth.export_tflite(
    model, tmp_path / 'a', 'int8', representative_data=x
  )
  assert export.difference < 0.1 and export.zeros_kept == export.zeros


@_exports
def test_a_model_in_half_precision_is_converted_in_float32(tmp_path):
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy('mixed_bfloat16')
  try:
    model = keras_3_toys.dense()
    export = tf_unilth.export_tflite(_sparse(model), tmp_path / 'a')
    assert keras.config.dtype_policy().name == 'mixed_bfloat16'
  finally:
    keras.config.set_dtype_policy(before)
  assert 'half precision' in str(export)


@pytest.mark.parametrize('name', ['export_saved_model', 'export_tflite'])
def test_what_cannot_be_exported_is_refused_at_once(
  name, tmp_path, monkeypatch
):
  export, model = getattr(tf_unilth, name), keras_3_toys.dense()
  planned = tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(0.5)
  )
  with pytest.raises(
    ValueError, match=r'still wrapped: export .*strip_pruning'
  ):
    export(planned, tmp_path / 'a')
  model = keras_3_toys.dense()
  if _BACKEND == 'torch':
    message = f'{name} needs .* Keras runs on torch.*KERAS_BACKEND=tensorflow'
  else:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    message = f'{name} needs TensorFlow, which is not installed'
  with pytest.raises(ValueError, match=message):
    export(model, tmp_path / 'a')
  assert not os.listdir(tmp_path)


@_exports
def test_the_flops_of_an_export_are_right_or_unknown(tmp_path):
  model = keras.Sequential([layers.Input((4,)), layers.Dense(5)])
  model.save(tmp_path / 'model.keras')
  tf_unilth.export_saved_model(model, tmp_path / 'export')
  for name in ('model.keras', 'export'):
    flops = inspection.read(tmp_path / name).facts['FLOPs a sample']
    if _BACKEND == 'tensorflow':
      assert flops == f'{2 * 4 * 5}'
    else:
      assert flops.startswith('unknown: ')
