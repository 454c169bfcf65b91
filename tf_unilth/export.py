"""Sparse SavedModels: written whole or not at all, and verified."""

import contextlib
import io
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tf_unilth import compat
from tf_unilth.compat import keras
from tf_unilth.pruned_layers import PrunedLayers


def export_saved_model(
  model: keras.Model,
  path: str | os.PathLike[str],
  inputs: np.ndarray | None = None,
  overwrite: bool = False,
) -> float | None:
  """Writes a stripped model as a SavedModel that plain TensorFlow loads.

  It is written beside `path` and renamed, so that no half file is left. With
  `inputs` it is loaded again by plain TensorFlow, and the outputs compared.

  Args:
    model: a built tf_keras model, after tfmot's `strip_pruning`.
    path: the directory to write.
    inputs: a batch for the comparison, of the model's one input.
    overwrite: whether an existing `path` is replaced.

  Returns:
    The largest absolute difference of the outputs, `None` without `inputs`.

  Raises:
    ValueError: the model is still wrapped.
    TypeError: not a tf_keras model.
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> folder = tempfile.mkdtemp() + '/export'
  >>> export_saved_model(model, folder, np.ones((4, 3), 'float32'))
  0.0
  """
  compat.check_keras(model, 'model', keras.Model)
  target = pathlib.Path(path)
  if PrunedLayers(model).kernels:
    raise ValueError(
      'model is still wrapped: export what '
      'tfmot.sparsity.keras.strip_pruning(model) returns.'
    )
  if target.exists() and not overwrite:
    raise FileExistsError(
      f'path {str(target)!r} exists: choose another, or overwrite=True.'
    )
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}-', dir=target.parent
  ) as folder:
    written = os.path.join(folder, 'saved_model')
    _write(model, written)
    difference = None if inputs is None else _difference(model, written, inputs)
    if target.exists():
      os.rename(target, os.path.join(folder, 'replaced'))
    os.rename(written, target)
  return difference


def _write(model: keras.Model, path: str) -> None:
  # Keras's own export leaves `training` open, and layers of augmentation then
  # augment what is served.
  (signature,), _ = model.save_spec()
  archive = keras.export.ExportArchive()
  archive.track(model)
  archive.add_endpoint(
    'serve', lambda inputs: model(inputs, training=False), [signature]
  )
  with contextlib.redirect_stdout(io.StringIO()):  # Keras lists it all.
    archive.write_out(path)


def _difference(model: keras.Model, path: str, inputs: np.ndarray) -> float:
  """Returns how far the SavedModel's outputs are from the model's."""
  loaded = tf.saved_model.load(path)
  batch = tf.convert_to_tensor(inputs)
  if model.inputs:  # A subclassed model does not know.
    batch = tf.cast(batch, model.inputs[0].dtype)
  pairs = zip(
    tf.nest.flatten(model.predict_on_batch(batch)),
    tf.nest.flatten(loaded.serve(batch)),
    strict=True,
  )
  return max(float(np.max(np.abs(a - b.numpy()))) for a, b in pairs)
