"""export_tflite: which kernels run sparse, which do not, and why."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.lite.tools import flatbuffer_utils

import tf_unilth
from tests.testing import toys
from tf_unilth.export import (
  sparse_int8,
  tflite_kernels,
  tflite_padding,
  tflite_verification,
)
from tf_unilth.export.model_inputs import ModelInputs
from tf_unilth.export.tflite_file import read_patterns

layers = keras.layers


def _with_blocks(kernel, block, sparsity=0.9, seed=0):
  """Sets random blocks of inputs to zero; the last may be shorter."""
  inputs, outputs = kernel.shape
  shape = -(-inputs // block), outputs
  kept = np.random.default_rng(seed).random(shape) >= sparsity
  kernel.assign(kernel.numpy() * kept.repeat(block, axis=0)[:inputs])


def _dense(inputs, block, *more):
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [layers.Dense(64, 'relu', input_shape=(inputs,), name='first'), *more]
  )
  _with_blocks(model.layers[0].kernel, block)
  return model


def _operations(path):
  interpreter = tf.lite.Interpreter(path)
  return [op['op_name'] for op in interpreter._get_ops_details()]


def _encodings(export):
  return {kernel.name: kernel.encoding for kernel in export.kernels}


def test_each_kernel_is_told_also_of_several_of_one_shape(tmp_path):
  more = [
    layers.Dense(64, name='single'),
    layers.Dense(64, name='nearly_empty'),
    layers.Dense(64, name='dense'),
  ]
  model = _dense(46, 4, *more)  # Eleven blocks, and one of two inputs.
  for layer, sparsity in zip(more, (0.8, 0.98, 0)):
    _with_blocks(layer.kernel, 1, sparsity)
  export = tf_unilth.export_tflite(model, tmp_path / 'a')
  assert _encodings(export) == {
    'first': 'sparse 1x4',
    'single': 'dense speed',
    'nearly_empty': 'sparse 1x4',
    'dense': 'dense',
  }
  assert export.difference < 1e-6
  assert export.zeros_kept == export.zeros > 0
  text = str(export)
  assert '\nsparse float32, any batch size\n' in text
  assert 'sparse 1x4: first, nearly_empty' in text
  assert (
    'dense speed: single (single zeros below 96.5% run at dense speed; '
    'block_size=(4, 1) would be faster)'
  ) in text
  assert 'dense: dense (less than 30% of its weights are zero)' in text
  operations = _operations(export.path)
  assert operations.count('PAD') == 1
  assert operations.count('DENSIFY') == 1
  assert operations.count('FULLY_CONNECTED') == 4


def test_the_report_says_at_once_that_no_kernel_runs_sparse(tmp_path):
  export = tf_unilth.export_tflite(_dense(64, 1), tmp_path / 'a')
  assert _encodings(export) == {'first': 'dense speed'}
  said = '\nsparse float32, any batch size; no kernel runs sparse\n'
  assert said in str(export)


def test_a_padded_kernel_computes_the_same_at_every_batch_size(tmp_path):
  shared = layers.Dense(64, name='shared')
  x = layers.Input((5, 46), name='x')
  y = layers.Dense(8, name='head')(shared(x) + shared(x[:, ::-1]))
  model = keras.Model(x, y)
  _with_blocks(shared.kernel, 4)
  export = tf_unilth.export_tflite(model, tmp_path / 'a')
  assert _encodings(export)['shared'] == 'sparse 1x4'
  for batch in (1, 3):
    data = np.random.default_rng(1).normal(size=(batch, 5, 46))
    data = data.astype(np.float32)
    for delegates in (True, False):
      (found,) = tflite_verification.outputs_of(
        export.path, [{'x': data}], delegates
      )
      np.testing.assert_allclose(
        found['head'], model.predict_on_batch(data), atol=1e-5
      )


def test_data_of_several_axes_is_joined_before_it_is_padded(tmp_path):
  model = _dense(50, 4)
  export = tf_unilth.export_tflite(model, tmp_path / 'a', sparse=False)
  content = bytearray((tmp_path / 'a').read_bytes())
  file = flatbuffer_utils.read_model_from_bytearray(content)
  (graph,) = file.subgraphs
  data = graph.tensors[graph.inputs[0]]
  # A product joins the axes of its data by itself, as of 5 x 10.
  data.shape, data.shapeSignature = [1, 5, 10], [-1, 5, 10]
  found = tflite_padding.sparse_with_padding(
    bytes(flatbuffer_utils.convert_object_to_bytearray(file))
  )
  interpreter = tf.lite.Interpreter(model_content=found)
  interpreter.resize_tensor_input(graph.inputs[0], [3, 5, 10])
  interpreter.allocate_tensors()
  (place,) = interpreter.get_input_details()
  x = np.random.default_rng(0).random((3, 5, 10), np.float32)
  interpreter.set_tensor(place['index'], x)
  interpreter.invoke()
  (place,) = interpreter.get_output_details()
  y = interpreter.get_tensor(place['index'])
  expected = model.predict_on_batch(x.reshape(3, 50))
  np.testing.assert_allclose(y, expected, atol=1e-5)
  assert export.encoding == 'dense'


def test_a_ticket_in_blocks_of_any_inputs_runs_sparse(tmp_path):
  keras.utils.set_random_seed(0)
  hidden = [layers.Dense(n, 'relu', name=f'of_{n}') for n in (30, 64)]
  model = keras.Sequential(
    [layers.Flatten(input_shape=(6, 6, 1)), *hidden, layers.Dense(2)]
  )
  schedule = tf_unilth.IterativeSparsity(0.75, rounds=1, scope='layer')
  model = tf_unilth.prune_low_magnitude(model, schedule, block_size=(4, 1))
  toys.fit(toys.compiled_for_labels(model), tf_unilth.LTH(verbose=0))
  ticket = tf_unilth.strip_pruning(model)
  kernel = ticket.get_layer('of_64').kernel.numpy()
  # Seven blocks of four inputs, and one of two.
  blocks = [kernel[i : i + 4] == 0 for i in range(0, 30, 4)]
  assert len(blocks[-1]) == 2
  assert sum(int(block.all(0).sum()) for block in blocks) == 6 * 64
  assert np.sum(kernel == 0) == sum(
    len(block) * int(block.all(0).sum()) for block in blocks
  )
  export = tf_unilth.export_tflite(ticket, tmp_path / 'a')
  found = _encodings(export)
  assert found['of_30'] == found['of_64'] == 'sparse 1x4'


def test_without_padding_the_file_is_dense_and_says_why(tmp_path, monkeypatch):
  monkeypatch.setattr(tflite_padding, 'missing_inputs', lambda *_: 0)
  export = tf_unilth.export_tflite(_dense(46, 4), tmp_path / 'a')
  assert _encodings(export) == {'first': 'dense'}
  assert 'dense, since the sparse encoding fails' in str(export)


def test_convolutions_run_at_dense_speed(tmp_path):
  model = keras.Sequential(
    [
      layers.Conv2D(32, 3, input_shape=(6, 6, 16), name='conv'),
      layers.BatchNormalization(),
      layers.Conv2DTranspose(8, 3, name='transposed'),
    ]
  )
  for layer in (model.layers[0], model.layers[2]):
    kernel = layer.kernel.numpy()
    kept = np.random.default_rng(0).random(kernel.shape) > 0.9
    layer.kernel.assign(kernel * kept)
  export = tf_unilth.export_tflite(model, tmp_path / 'a')
  assert _encodings(export)['conv'] == 'dense speed'
  assert export.zeros_kept == export.zeros
  reasons = {kernel.name: kernel.reason for kernel in export.kernels}
  assert (
    reasons['conv'] == 'TFLite skips zeros in Dense and recurrent layers only'
  )


def test_zeros_of_a_sparse_tensor_are_where_they_were(tmp_path):
  model = _dense(46, 4, layers.Dense(64))
  _with_blocks(model.layers[1].kernel, 1, 0.8)
  export = tf_unilth.export_tflite(model, tmp_path / 'a')
  kernels = [layer.kernel.numpy().T != 0 for layer in model.layers]
  patterns = read_patterns(export.path)
  assert len(patterns) == 2
  for tensor, nonzero in patterns:
    assert tensor.sparse and tensor.readers >= {'FULLY_CONNECTED'}
    kernel = kernels[nonzero.shape == (64, 64)]
    np.testing.assert_array_equal(nonzero[:, : kernel.shape[1]], kernel)
    assert not nonzero[:, kernel.shape[1] :].any()
  other = [('other', np.zeros((46, 64)))]
  (found,) = tflite_kernels.find_kernels(export.path, other).kernels
  assert (found.encoding, found.zeros_kept) == ('not found', None)


# int8.


def _int8(model, path, **arguments):
  x = np.random.default_rng(0).normal(size=(32, *model.input_shape[1:]))
  return tf_unilth.export_tflite(model, path, 'int8', x, **arguments)


class _Negating:
  """An interpreter whose outputs have the wrong sign."""

  def __init__(self, model_path):
    self._run = tf.lite.Interpreter(model_path).get_signature_runner()
    self.get_input_details = self._run.get_input_details
    self.get_output_details = self._run.get_output_details

  def get_signature_runner(self):
    return self

  def __call__(self, **inputs):
    return {name: -array for name, array in self._run(**inputs).items()}


def _litert(monkeypatch, interpreter):
  monkeypatch.setattr(sparse_int8, 'litert_interpreter', lambda: interpreter)


@pytest.fixture(scope='module')
def int8(tmp_path_factory):
  """A sparse and a dense int8 file of blocks of 16 inputs, and the export."""
  model, folder = _dense(200, 16), tmp_path_factory.mktemp('int8')
  with pytest.MonkeyPatch.context() as patch:
    _litert(patch, tf.lite.Interpreter)
    export = _int8(model, folder / 'sparse')
  _int8(model, folder / 'dense', sparse=False)
  files = [(folder / name).read_bytes() for name in ('sparse', 'dense')]
  return model, export, *files


def test_int8_in_blocks_of_16_runs_sparse(int8):
  _, export, sparse, dense = int8
  assert _encodings(export) == {'first': 'sparse 1x16'}
  assert export.zeros_kept == export.zeros
  assert len(sparse) == export.bytes < len(dense) - 6000
  operations = _operations(export.path)
  assert 'DENSIFY' not in operations
  assert operations.count('PAD') == 1  # To 208 inputs.


def test_int8_is_dense_where_litert_cannot_be_asked(int8, monkeypatch):
  *_, sparse, _ = int8
  _litert(monkeypatch, tf.lite.Interpreter)
  assert sparse_int8.why_not(sparse) is None
  _litert(monkeypatch, None)
  assert 'pip install ai-edge-litert' in sparse_int8.why_not(sparse)


def test_litert_is_not_named_for_a_file_without_sparse_tensors(
  tmp_path, monkeypatch
):
  _litert(monkeypatch, None)
  model = keras.Sequential([layers.Dense(8, input_shape=(16,))])
  export = _int8(model, tmp_path / 'dense')
  dense = pathlib.Path(export.path).read_bytes()
  assert sparse_int8.why_not(dense).startswith('too few weights are zero')


def test_int8_is_dense_where_litert_computes_something_else(
  int8, tmp_path, monkeypatch
):
  model, *_ = int8
  _litert(monkeypatch, _Negating)
  export = _int8(model, tmp_path / 'a')
  assert _encodings(export) == {'first': 'dense'}
  assert 'in LiteRT it is not the dense file' in str(export)


def test_litert_runs_sparse_int8(int8):
  pytest.importorskip('ai_edge_litert')
  model, _, sparse, dense = int8
  x = np.random.default_rng(1).normal(size=(8, 200)).astype(np.float32)
  (name,) = ModelInputs(model).specs
  sparse_int8.verify(sparse, dense, [{name: x}])
