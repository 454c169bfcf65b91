"""export_saved_model: what is refused, and that nothing is half written."""

import errno
import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.export import (
  file_errors,
  packed_saved_model,
  saved_model_archive,
)

layers = keras.layers


def _sparse(model, sparsity=0.9):
  """Gives all matrices of a model random zeros."""
  rng = np.random.default_rng(0)
  for variable in model.variables:
    if variable.shape.rank > 1:
      values = rng.normal(size=variable.shape)
      values[rng.random(values.shape) < sparsity] = 0
      variable.assign(tf.cast(values, variable.dtype))
  return model


def _mlp(*sizes, **dense):
  hidden = [layers.Dense(size, activation='relu', **dense) for size in sizes]
  return keras.Sequential([layers.Input((200,)), *hidden, layers.Dense(10)])


def test_what_float16_cannot_hold_is_refused(tmp_path):
  model = _sparse(_mlp(300))
  model.layers[0].kernel[0, 0].assign(1e5)
  with pytest.raises(ValueError, match=r'dense\S*/kernel.*100000.*float32'):
    tf_unilth.export_saved_model(model, tmp_path / 'export', dtype='float16')
  assert not os.listdir(tmp_path)


class _Cell(keras.Model):
  """A subclassed model, whose GRU has biases of two dimensions, all zero."""

  def __init__(self):
    super().__init__()
    self.gru, self.head = layers.GRU(4), layers.Dense(2)

  def call(self, inputs):
    return self.head(self.gru(inputs))


def test_a_model_that_was_never_called_is_refused(tmp_path):
  class Empty(keras.Model):
    def call(self, inputs):
      return inputs

  model = Empty()
  model.built = True
  with pytest.raises(ValueError, match='never called'):
    tf_unilth.export_saved_model(model, tmp_path / 'export')


def test_weights_that_come_back_wrong_are_not_kept(tmp_path, monkeypatch):
  def wrong(weights, name):
    return tf.range(weights.packed.values.size, dtype=tf.int64)[:, None]

  monkeypatch.setattr(packed_saved_model.PackedWeights, '_where', wrong)
  with pytest.raises(RuntimeError, match='other weights'):
    tf_unilth.export_saved_model(_sparse(_mlp(300)), tmp_path / 'export')
  assert not os.listdir(tmp_path)


def test_a_wrapped_model_is_refused(tmp_path):
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
  subclassed = _Cell()
  subclassed.head = tf_unilth.PruneLowMagnitude(subclassed.head)
  subclassed(np.ones((2, 5, 3), np.float32))
  for export in (tf_unilth.export_saved_model, tf_unilth.export_tflite):
    for wrapped in (model, subclassed):
      with pytest.raises(
        ValueError, match=r'tf_unilth\.strip_pruning\(model\)'
      ):
        export(wrapped, tmp_path / 'export')
  assert not os.listdir(tmp_path)


def test_what_is_no_model_is_refused(tmp_path):
  for export in (tf_unilth.export_saved_model, tf_unilth.export_tflite):
    with pytest.raises(TypeError, match=r'keras\.Model or a tf_keras\.Model'):
      export(tf.Module(), tmp_path / 'export')


def test_an_existing_path_is_kept_unless_told(tmp_path):
  path = tmp_path / 'export'
  path.mkdir()
  (path / 'precious').touch()
  with pytest.raises(FileExistsError, match='overwrite=True'):
    tf_unilth.export_saved_model(toys.dense(), path)
  assert (path / 'precious').exists()
  tf_unilth.export_saved_model(toys.dense(), path, overwrite=True)
  assert not (path / 'precious').exists()
  assert (path / 'saved_model.pb').exists()


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
  def full_disk(archive, filepath):
    os.mkdir(filepath)
    raise OSError('no space left on device')

  archive = saved_model_archive.ExportArchive
  monkeypatch.setattr(archive, 'write_out', full_disk)
  model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  with pytest.raises(OSError, match='no space left'):
    tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert not os.listdir(tmp_path)


def test_layers_of_augmentation_do_not_augment_what_is_served(tmp_path):
  model = keras.Sequential(
    [keras.layers.Input((8, 8, 1)), keras.layers.RandomRotation(0.3)]
  )
  x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
  tf_unilth.export_saved_model(model, tmp_path / 'export', x)
  loaded = tf.saved_model.load(str(tmp_path / 'export'))
  np.testing.assert_array_equal(loaded.serve(x), model.predict_on_batch(x))


def test_a_subclassed_model_is_exported(tmp_path):
  class Subclassed(keras.Model):
    def __init__(self):
      super().__init__()
      self.dense = keras.layers.Dense(2)

    def call(self, inputs):
      return self.dense(inputs)

  model, x = Subclassed(), np.ones((4, 3), np.float32)
  model(x)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export', x)
  assert exported.output_difference == 0


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'overwrite': 'no'}, "overwrite must be True or False, but is 'no'"),
    ({'packed': 'no'}, "packed must be True or False, but is 'no'"),
    ({'signatures': {'a': len}}, 'signatures must be a dict from names to tf.'),
    ({'signatures': []}, 'signatures must be a dict from names to tf.'),
    ({'inputs': np.ones((2, 3))}, 'inputs must be a batch, nested as'),
    ({'inputs': 'words'}, 'inputs must be a batch, nested as'),
    ({'inputs': np.ones((0, 200))}, 'inputs must hold samples'),
    ({'path': 7}, 'path must be a path, but is 7'),
    ({'path': ''}, "path must be a path that is not empty, but is ''"),
  ],
)
def test_bad_arguments_are_named_and_leave_nothing(arguments, match, tmp_path):
  given = {'path': tmp_path / 'new' / 'export', **arguments}
  with pytest.raises((TypeError, ValueError), match=match):
    tf_unilth.export_saved_model(_sparse(_mlp(8)), **given)
  assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path):
  (tmp_path / 'file').write_text('words')
  with pytest.raises(NotADirectoryError, match=r'path .* is not a folder'):
    tf_unilth.export_saved_model(_sparse(_mlp(8)), tmp_path / 'file' / 'export')


class FingerprintException(Exception):
  """As TensorFlow's, which its ValueErrors have."""


@pytest.mark.parametrize(
  ('text', 'number'),
  [
    ('No singleprint.\nUNAVAILABLE: /a/b.pb; Interrupted', errno.EINTR),
    ('No singleprint.\nUNKNOWN: /a/b.pb; Input/output error', errno.EIO),
    ('No singleprint of /a/b.pb', errno.EIO),
  ],
)
def test_an_error_of_the_fingerprint_is_that_of_its_file(text, number):
  with (
    pytest.raises(OSError, match=r'/a/b\.pb') as raised,
    file_errors.as_os_errors(),
  ):
    raise ValueError(FingerprintException(text))
  assert raised.value.errno == number
  with pytest.raises(ValueError, match='another'), file_errors.as_os_errors():
    raise ValueError('another')
