"""export_saved_model: plain TensorFlow loads it; nothing is half written."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests import toys


def test_a_process_with_tensorflow_alone_computes_the_same(tmp_path):
  model = toys.conv()
  x, _ = toys.data()
  path = tmp_path / 'export'
  exported = tf_unilth.export_saved_model(model, path, inputs=x)
  assert exported.output_difference == 0
  np.save(tmp_path / 'x.npy', x)
  code = (
    'import sys, numpy as np, tensorflow as tf;'
    f'loaded = tf.saved_model.load({str(path)!r});'
    f'y = loaded.serve(tf.constant(np.load({str(tmp_path / "x.npy")!r})));'
    f'np.save({str(tmp_path / "y.npy")!r}, y.numpy());'
    'assert "tf_unilth" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=tmp_path)
  np.testing.assert_array_equal(
    np.load(tmp_path / 'y.npy'), model.predict_on_batch(x)
  )


def test_a_wrapped_model_is_refused(tmp_path):
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
  with pytest.raises(ValueError, match=r'still wrapped.*strip_pruning'):
    tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert not os.listdir(tmp_path)


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

  monkeypatch.setattr(keras.export.ExportArchive, 'write_out', full_disk)
  model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  with pytest.raises(OSError, match='no space left'):
    tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert not os.listdir(tmp_path)


def test_layers_of_augmentation_do_not_augment_what_is_served(tmp_path):
  model = keras.Sequential(
    [keras.layers.Input((8, 8, 1)), keras.layers.RandomRotation(0.3)]
  )
  x = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export', x)
  assert exported.output_difference == 0


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
