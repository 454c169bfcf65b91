"""export_tflite: what is refused, and that no wrong file is left."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.export import tflite_verification as verification

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


def test_a_wrong_file_is_not_left(tmp_path, monkeypatch):
  real = verification.outputs_of

  def outputs_of(path, batches, delegates):
    found = real(path, batches, delegates)
    if delegates:
      return found
    return [{n: a * np.float32(1.0001) for n, a in b.items()} for b in found]

  monkeypatch.setattr(verification, 'outputs_of', outputs_of)
  path = tmp_path / 'model.tflite'
  path.write_bytes(b'precious')
  with pytest.raises(ValueError, match=r'no delegates.*0\.0001 of the largest'):
    tf_unilth.export_tflite(_mlp(), path, overwrite=True)
  assert path.read_bytes() == b'precious'
  assert os.listdir(tmp_path) == ['model.tflite']


@pytest.mark.parametrize(
  ('found', 'words'),
  [
    ([1.0, 2.0, 2.9, 4.0], r'differs by 0.025'),
    ([1.0, 2.0, np.nan, 4.0], 'NaN'),
    ([1.0, 2.0, 3.0], '3 elements'),
  ],
)
def test_outputs_that_are_wrong_are_seen(found, words):
  expected = np.array([1.0, 2.0, 3.0, 4.0])
  with pytest.raises(verification.WrongOutputsError, match=words):
    verification.compare(
      expected, np.array(found), verification.Tolerance(0.01)
    )


def test_outputs_that_do_not_correlate_are_wrong_however_close():
  expected = np.array([9.0, 10.0, 9.0, 10.0])
  loose = verification.Tolerance(0.09, 0.97)
  # Far below the average, but within the largest difference.
  with pytest.raises(verification.WrongOutputsError, match='correlation'):
    verification.compare(expected, np.full(4, 9.5), loose)
  assert verification.compare(expected, expected + 0.1, loose) == 0.01


def test_ragged_and_sparse_are_refused_in_words(tmp_path):
  ragged = layers.Input((None, 3), ragged=True, name='words')
  model = keras.Model(ragged, layers.GRU(4)(ragged))
  with pytest.raises(ValueError, match=r'ragged tensor as words.*TFLite'):
    tf_unilth.export_tflite(model, tmp_path / 'a')
  sparse = layers.Input((9,), sparse=True)
  model = keras.Model(sparse, layers.Dense(2)(sparse))
  with pytest.raises(ValueError, match=r'sparse tensor.*only dense'):
    tf_unilth.export_tflite(model, tmp_path / 'a')
  dense = layers.Input((9,))
  out = layers.Lambda(tf.RaggedTensor.from_tensor)(layers.Dense(2)(dense))
  with pytest.raises(ValueError, match=r'output .* is a RaggedTensor'):
    tf_unilth.export_tflite(keras.Model(dense, out), tmp_path / 'a')
  assert not os.listdir(tmp_path)


def test_the_old_file_is_kept_when_the_new_one_cannot_take_its_place(
  tmp_path, monkeypatch
):
  path = tmp_path / 'model.tflite'
  path.write_bytes(b'precious')

  def replace(*_):
    raise OSError('no space left on device')

  monkeypatch.setattr(os, 'replace', replace)
  with pytest.raises(OSError, match='no space left'):
    tf_unilth.export_tflite(_mlp(), path, overwrite=True)
  assert path.read_bytes() == b'precious'
  assert os.listdir(tmp_path) == ['model.tflite']


def test_strings_are_not_made_up(tmp_path):
  words = layers.Input((3,), dtype='string')
  model = keras.Model(words, layers.Lambda(tf.strings.length)(words))
  with pytest.raises(ValueError, match=r'made up.*string.*inputs='):
    tf_unilth.export_tflite(model, tmp_path / 'a')


def test_operations_that_tflite_lacks_are_named(tmp_path):
  model = keras.Sequential(
    [
      layers.Lambda(lambda x: tf.math.igamma(x, x), input_shape=(3,)),
      layers.Dense(2),
    ]
  )
  with pytest.raises(ValueError, match=r'select ops.*Igamma'):
    tf_unilth.export_tflite(model, tmp_path / 'a')
  assert not os.listdir(tmp_path)


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
  model, path = _mlp(), tmp_path / 'a'
  wrapped = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
  with pytest.raises(
    ValueError, match=r'still wrapped.*tf_unilth.strip_pruning\(model\)'
  ):
    tf_unilth.export_tflite(wrapped, path)
  with pytest.raises(ValueError, match="'int4'"):
    tf_unilth.export_tflite(model, path, 'int4')
  with pytest.raises(ValueError, match='needs representative_data'):
    tf_unilth.export_tflite(model, path, 'int8')
  with pytest.raises(ValueError, match=r'inputs .*\(2, 3\).*64'):
    tf_unilth.export_tflite(model, path, inputs=np.ones((2, 3)))
  with pytest.raises(ValueError, match=r'2 arrays.*takes 1'):
    tf_unilth.export_tflite(model, path, inputs=(np.ones(64), np.ones(64)))
  with pytest.raises(IsADirectoryError, match='folder'):
    tf_unilth.export_tflite(model, tmp_path, overwrite=True)
  assert not os.listdir(tmp_path)
  path.write_bytes(b'precious')
  with pytest.raises(FileExistsError, match='overwrite=True'):
    tf_unilth.export_tflite(model, path)
  assert path.read_bytes() == b'precious'


@pytest.mark.parametrize(
  ('block', 'encoding'), [((1, 4), 'sparse'), ((4, 1), None)]
)
def test_blocks_are_run_too(tmp_path, block, encoding):
  keras.utils.set_random_seed(0)
  model = keras.Sequential([layers.Dense(64, input_shape=(64,))])
  kernel = model.layers[0].kernel
  shape = 64 // block[0], 64 // block[1]
  kept = np.random.default_rng(0).random(shape) > 0.9
  kernel.assign(kernel.numpy() * np.kron(kept, np.ones(block)))
  # TensorFlow 2.21 computes NaN for float16 blocks along the inputs.
  export = tf_unilth.export_tflite(model, tmp_path / 'a', 'float16')
  assert export.difference < 1e-3
  assert encoding in (None, export.encoding)
  assert export.encoding == 'sparse' or 'sparse encoding' in str(export)


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path, monkeypatch):
  with pytest.raises(FileNotFoundError, match='none'):
    verification.Runner(tmp_path / 'none')
  # If it can be opened the next time, nothing is lost.
  path = tmp_path / 'model.tflite'
  tf_unilth.export_tflite(_mlp(), path)
  load, tried = tf.lite.Interpreter, []

  def fail_once(model_path, **options):
    tried.append(model_path)
    if len(tried) == 1:
      raise ValueError(f"Could not open '{model_path}'.")
    return load(model_path, **options)

  monkeypatch.setattr(tf.lite, 'Interpreter', fail_once)
  assert verification.Runner(path).inputs and len(tried) == 2
