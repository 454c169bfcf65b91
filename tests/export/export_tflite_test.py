"""export_tflite: files that were run and compute what the model does."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.costs import tflite as recipe
from tf_unilth.export import tflite_converter
from tf_unilth.export import tflite_verification as verification
from tf_unilth.export.model_inputs import ModelInputs
from tf_unilth.export.tflite_file import read_tflite
from tf_unilth.inspection import output_comparison

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


def _mlp():
  keras.utils.set_random_seed(0)
  return _sparse(
    keras.Sequential(
      [
        layers.Dense(128, 'relu', input_shape=(64,)),
        layers.Dense(32, name='head'),
      ]
    )
  )


def _run(path, delegates=False, **arrays):
  (outputs,) = verification.outputs_of(path, [arrays], delegates)
  return outputs


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """One model in all of its formats."""
  model, folder = _mlp(), tmp_path_factory.mktemp('exported')
  samples = np.random.default_rng(0).normal(size=(32, 64))
  found = {}
  for quantization in (None, 'float16', 'dynamic', 'int8'):
    int8 = {'representative_data': samples} if quantization == 'int8' else {}
    path = folder / f'{quantization}.tflite'
    found[quantization] = tf_unilth.export_tflite(
      model, path, quantization, **int8
    )
  return model, found


@pytest.mark.parametrize('quantization', [None, 'float16', 'dynamic', 'int8'])
def test_a_file_computes_what_the_model_does(exported, quantization):
  model, found = exported
  export = found[quantization]
  x = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
  (name,) = ModelInputs(model).specs
  y = model.predict_on_batch(x)
  bound = {None: 1e-5, 'float16': 1e-3}.get(quantization, 0.03)
  for delegates in (True, False):
    found = _run(export.path, delegates, **{name: x})['head']
    assert np.max(np.abs(found - y)) <= bound * np.max(np.abs(y))
  assert export.difference <= bound
  assert export.bytes == os.path.getsize(export.path)
  assert export.batch is None
  assert export.zeros == export.zeros_kept == round(0.9 * (64 + 32) * 128)


def test_what_can_be_sparse_is_and_what_cannot_says_so(exported):
  _, found = exported
  encodings = {name: export.encoding for name, export in found.items()}
  assert encodings == {
    None: 'sparse',
    'float16': 'sparse',
    'dynamic': 'dense',
    'int8': 'dense',
  }
  assert found[None].bytes < found[None].dense_bytes / 4
  assert found['float16'].bytes < found[None].bytes
  assert 'default delegates' in str(found['dynamic'])
  assert 'LiteRT only where all' in str(found['int8'])
  assert 'block_size=(16, 1)' in str(found['int8'])
  assert 'note' not in str(found[None])
  assert 'zeros kept: 11,059 of 11,059' in str(found[None])


def test_weights_are_read_from_the_file_as_they_were(exported):
  model, found = exported
  for quantization, dtype in ((None, 'float32'), ('int8', 'int8')):
    weights = read_tflite(found[quantization].path)
    kernels = {layer.kernel.shape[::-1]: layer.kernel for layer in model.layers}
    assert {weight.shape for weight in weights} == set(kernels)
    for weight in weights:
      zeros = np.sum(kernels[weight.shape].numpy() == 0)
      assert weight.dtype == dtype and weight.finite
      # Rounding to int8 makes some more.
      assert zeros <= weight.zeros <= zeros + (dtype == 'int8') * 20
      assert weight.sparse == (quantization is None)
      assert weight.bytes < weight.weights * (0.8 if weight.sparse else 2)
      if weight.sparse:  # An index each, of a byte at least.
        assert weight.bytes >= 5 * (weight.weights - weight.zeros)


def test_a_dense_model_or_sparse_false_is_dense(tmp_path):
  model = _mlp()
  export = tf_unilth.export_tflite(model, tmp_path / 'a', sparse=False)
  assert (export.encoding, export.bytes) == ('dense', export.dense_bytes)
  assert not export.notes
  dense = keras.Sequential([layers.Dense(32, input_shape=(32,))])
  export = tf_unilth.export_tflite(dense, tmp_path / 'b')
  assert (export.encoding, export.zeros) == ('dense', 0)
  assert 'too few weights are zero' in str(export)
  assert 'the model is dense: it has no zeros' in str(export)
  assert 'tf_unilth.shrink returned is smaller instead' in str(export)
  assert sorted(os.listdir(tmp_path)) == ['a', 'b']


def test_a_wrong_sparse_file_is_replaced_by_the_dense_one(
  tmp_path, monkeypatch
):
  real = tflite_converter.verify

  def verify(path, *arguments):
    if any(weight.sparse for weight in read_tflite(path)):
      raise verification.WrongOutputsError('it is NaN')
    return real(path, *arguments)

  monkeypatch.setattr(tflite_converter, 'verify', verify)
  export = tf_unilth.export_tflite(_mlp(), tmp_path / 'a')
  assert export.encoding == 'dense'
  assert 'it is NaN' in str(export)
  assert not any(weight.sparse for weight in read_tflite(export.path))


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
  left, right = layers.Input((4,), name='left'), layers.Input((3,), name='b')
  both = layers.Concatenate()([left, right])
  model = keras.Model(
    {'z': left, 'b': right},
    {'sum': layers.Dense(2)(both), 'left': layers.Dense(3)(left)},
  )
  x = {name: np.ones((2, n), np.float32) for name, n in (('z', 4), ('b', 3))}
  export = tf_unilth.export_tflite(model, tmp_path / 'a', inputs=x)
  y = model.predict_on_batch(x)
  found = _run(export.path, z=x['z'], b=x['b'])
  for name in ('sum', 'left'):
    np.testing.assert_allclose(found[name], y[name], atol=1e-6)


def test_a_recurrent_model_computes_the_same_in_every_call(tmp_path):
  keras.utils.set_random_seed(0)
  recurrent = layers.Bidirectional(layers.LSTM(8))
  model = keras.Sequential([layers.Input((5, 4)), recurrent, layers.Dense(2)])
  export = tf_unilth.export_tflite(_sparse(model), tmp_path / 'a')
  assert export.batch == 1 and 'batch of 1 only' in str(export)
  assert export.zeros_kept == export.zeros
  x = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
  (name,), y = ModelInputs(model).specs, model.predict_on_batch(x)
  batches = [{name: x}] * 2  # A fused LSTM goes on from its last state.
  for found in verification.outputs_of(export.path, batches, True):
    np.testing.assert_allclose(*found.values(), y, atol=1e-5)


def test_int8_of_a_recurrent_model_is_refused_since_tflite_crashes(tmp_path):
  model = keras.Sequential([layers.GRU(4, input_shape=(5, 4))])
  with pytest.raises(ValueError, match=r'calibrates a loop.*quantization=None'):
    tf_unilth.export_tflite(model, tmp_path / 'a', 'int8', np.zeros((2, 5, 4)))
  assert not os.listdir(tmp_path)


@pytest.fixture(scope='module')
def in_int8(tmp_path_factory):
  """A model whose file takes int8 and gives uint8, with its inputs."""
  model = _mlp()
  x = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
  export = tf_unilth.export_tflite(
    model,
    tmp_path_factory.mktemp('in_int8') / 'a',
    'int8',
    x,
    inference_input_type='int8',
    inference_output_type=tf.uint8,
  )
  return model, x, export


def test_int8_inputs_and_outputs_are_run_and_told(in_int8):
  model, x, export = in_int8
  (given,), (returned,) = export.inputs, export.outputs
  assert (given.dtype, returned.dtype) == ('int8', 'uint8')
  runner = tf.lite.Interpreter(export.path).get_signature_runner()
  for port, details in (
    (given, runner.get_input_details()),
    (returned, runner.get_output_details()),
  ):
    found = details[port.name]
    assert np.dtype(found['dtype']).name == port.dtype
    assert found['quantization'] == (port.scale, port.zero_point)
  # By hand: what the result tells is enough to use the file.
  steps = np.round(x / given.scale) + given.zero_point
  raw = runner(**{given.name: np.clip(steps, -128, 127).astype(np.int8)})[
    'head'
  ]
  y = returned.scale * (raw.astype(float) - returned.zero_point)
  expected = model.predict_on_batch(x)
  assert np.max(np.abs(y - expected)) < 0.05 * np.max(np.abs(expected))
  assert export.difference < 0.05
  scale = f'{given.scale:.6g} and zero point {given.zero_point}'
  assert f'inputs: {given.name} int8 of scale {scale}' in str(export)
  assert 'outputs: head uint8 of scale' in str(export)


def test_int8_outputs_are_compared_as_numbers(in_int8, monkeypatch):
  model, x, export = in_int8
  (name,) = ModelInputs(model).specs
  expected, int8 = (
    model.predict_on_batch(x),
    verification.Tolerance(0.15, 0.97),
  )
  against = export.path, [{name: x}], [{'head': expected}], int8
  assert verification.verify(*against) == export.difference
  monkeypatch.setattr(
    verification.Port,
    'dequantized',
    lambda port, array: np.float32(array),
  )
  with pytest.raises(verification.WrongOutputsError, match='differs by'):
    verification.verify(*against)


def test_the_recipe_compares_int8_inputs_as_numbers(in_int8, tmp_path):
  model, _, export = in_int8
  model.save(tmp_path / 'model.keras')
  text = output_comparison.compare_outputs(
    export.path, tmp_path / 'model.keras', 0
  )
  assert float(re.search(r'\((\S+) of the largest', text)[1]) < 0.1


def test_an_input_or_output_that_stays_float_is_refused(exported):
  model, found = exported
  for types, what in (
    (('int8', 'float32'), 'inference_input_type=.int8. .*input dense'),
    (('float32', 'uint8'), 'inference_output_type=.uint8. .*output head'),
  ):
    exporter = tflite_converter.TFLiteConversion(model, 'int8', [], [], types)
    with pytest.raises(ValueError, match=what):
      exporter._ports(found[None].path)


def test_integers_stay_what_they_are_beside_int8_inputs(tmp_path):
  number, ids = (
    layers.Input((12,), name='x'),
    layers.Input((5,), dtype='int32', name='ids'),
  )
  found = layers.Flatten()(layers.Embedding(9, 4)(ids))
  both = layers.Concatenate()([number, found])
  model = keras.Model([number, ids], layers.Dense(3)(both))
  rng = np.random.default_rng(0)
  data = {'ids': rng.integers(9, size=(20, 5)), 'x': rng.normal(size=(20, 12))}
  export = tf_unilth.export_tflite(
    model, tmp_path / 'a', 'int8', data, inference_input_type='int8'
  )
  dtypes = {port.name: port.dtype for port in export.inputs}
  assert dtypes == {'x': 'int8', 'ids': 'int32'}
  assert 'calibrated on 20 samples' in str(export)


def test_the_recipe_measures(capsys):
  export = recipe.measure('mlp', 0.95, None, 0)
  assert export.dense_bytes > 10 * export.bytes
  assert export.zeros == round(0.95 * 19200) + round(0.95 * 30000) + 950


def test_nothing_is_printed(tmp_path, capfd):
  tf_unilth.export_tflite(_mlp(), tmp_path / 'a')
  captured = capfd.readouterr()
  assert (captured.out, captured.err) == ('', '')
  print('heard again')
  assert capfd.readouterr().out == 'heard again\n'


def test_embeddings_get_ids_that_they_have(tmp_path):
  model = keras.Sequential(
    [
      layers.Embedding(3, 4, input_length=5),
      layers.GlobalAveragePooling1D(),
    ]
  )
  assert tf_unilth.export_tflite(model, tmp_path / 'a').difference <= 1e-5
  drawn = ModelInputs(model).made_up(0, 50)
  assert {*np.ravel(*drawn.values())} == {0, 1, 2}


@pytest.mark.parametrize('keep', [0, 6, 40, 1000])
def test_a_damaged_file_is_no_tflite_file(exported, tmp_path, keep):
  _, found = exported
  with open(found[None].path, 'rb') as file:
    (tmp_path / 'a').write_bytes(file.read(keep))
  with pytest.raises(ValueError, match=r'no TFLite|damaged'):
    read_tflite(tmp_path / 'a')


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'overwrite': 'no'}, "overwrite must be True or False, but is 'no'"),
    ({'sparse': 'no'}, "sparse must be True or False, but is 'no'"),
    ({'quantization': np.ones(2)}, 'quantization must be None or one of'),
    ({'representative_data': 7}, 'with quantization=None it is 7'),
    (
      {'inference_input_type': 'int16'},
      "inference_input_type must be one of .*int8.*, but is 'int16'",
    ),
    (
      {'inference_output_type': 'int8'},
      "inference_output_type='int8' needs quantization='int8', but it is None",
    ),
    ({'inputs': 'words'}, "inputs for .* must be of float32, but is 'words'"),
    ({'inputs': []}, 'inputs must hold samples'),
    ({'path': None}, 'path must be a path, but is None'),
  ],
)
def test_bad_arguments_are_named_and_leave_nothing(arguments, match, tmp_path):
  model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  given = {'path': tmp_path / 'new' / 'model.tflite', **arguments}
  with pytest.raises((TypeError, ValueError), match=match):
    tf_unilth.export_tflite(model, **given)
  assert not list(tmp_path.iterdir())
