"""Exports sparse SavedModels: small, verified and written atomically.

The checks need no TensorFlow: a model of Keras 3 may run on another backend.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines import private_name_check, served_model
from tf_unilth.export import export_checks
from tf_unilth.export.exported_model import ExportedModel
from tf_unilth.files import directory_swap, output_paths, synchronization
from tf_unilth.files.temporary_folder import temporary_folder
from tf_unilth.user_warning import warn_user

_DTYPES = ('float32', 'float16')


def export_saved_model(
  model: Any,
  path: str | os.PathLike[str],
  inputs: Any = None,
  overwrite: bool = False,
  signatures: Mapping[str, Any] | None = None,
  dtype: str = 'float32',
  packed: bool = True,
) -> ExportedModel:
  """Writes a stripped model as a small, verified SavedModel.

  Weights with zeros are packed: only their nonzero values and the positions of
  these are stored. Plain TensorFlow loads the SavedModel without tf_unilth
  (`tf.saved_model.load`, TF Serving, `saved_model_cli`) and unpacks the weights
  once. A loaded model then needs as much memory and time per call as a dense
  one. Weights with at least two dimensions, pruned or not, are packed where
  this saves bytes. Use `packed=False` for a SavedModel that is loaded in the
  scope of a distribution strategy: there TensorFlow passes placeholders for
  variables to functions during loading, so unpacking fails.

  The SavedModel is written beside `path`, loaded by plain TensorFlow, compared
  with the model and then renamed to `path`. So `path` never has a partial
  export, and a failed export leaves an existing one in place. While an export
  is replaced, it is briefly at `.<name>.previous` beside `path`. If the process
  is killed then, the next call with this `path` restores it.

  A Keras 3 model on the JAX backend is converted by jax2tf: its SavedModel
  needs a TensorFlow with XLA, as all but stripped builds have, and its outputs
  can differ from the model's in their last bits. On the torch backend an error
  says how to export by way of a `.keras` file.

  Args:
    model: a built model of tf_keras, or of Keras 3 on the TensorFlow or JAX
      backend, after `strip_pruning`.
    path: the directory to write.
    inputs: a batch for the comparison, in the model's structure or as a dict by
      input name: arrays, ragged or sparse tensors. Default: random inputs,
      where they can be generated.
    overwrite: whether an existing `path` is replaced.
    signatures: a dict of further signatures by name, each a `tf.function` with
      an input signature. The model itself is `serve` and `serving_default`.
    dtype: the stored type of weights with at least two dimensions: `'float32'`
      keeps all types, `'float16'` stores them in half precision.
    packed: whether to pack weights; if not, writes a plain SavedModel.

  Returns:
    An `ExportedModel` with sizes and largest differences; print it. It states
    if the model has no zeros.

  Raises:
    ValueError: the model is still wrapped or was never called; its backend is
      torch, or TensorFlow is not installed; `inputs` do not match it; `dtype`
      is unknown, cannot represent a weight, or is `'float16'` with
      `packed=False`; or `signatures` is invalid.
    TypeError: `model` is not a Keras model.
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.
    RuntimeError: the loaded SavedModel has other weights than the model.

  >>> model = keras.Sequential([keras.layers.Dense(300, input_shape=(200,))])
  >>> kernel = np.zeros((200, 300))
  >>> kernel[::10, ::2] = 1
  >>> model.set_weights([kernel, np.zeros(300)])
  >>> folder = tempfile.mkdtemp() + '/export'
  >>> exported = export_saved_model(model, folder)
  >>> print(str(exported).partition('\\n')[2])
  weights: 241,200 bytes dense, 16,390 stored, 14.7 times smaller; 1 packed
  zeros: 57,000 of 57,000 kept; weights the same to the bit
  outputs differ by at most 0 (on made-up inputs)
  """
  export_checks.check_model(model, 'export_saved_model')
  _check_options(dtype, packed, {} if signatures is None else signatures)
  target = _check_target(path, overwrite)
  stored_type = np.dtype(dtype) if dtype != 'float32' else None
  exported = _export(
    served_model.of_model(model),
    target,
    inputs,
    signatures or {},
    stored_type,
    packed,
  )
  return dataclasses.replace(
    exported, path=str(target), notes=export_checks.notes_on_zeros(model)
  )


def _export(
  model: served_model.ServedModel,
  target: pathlib.Path,
  inputs: Any,
  signatures: Mapping[str, Any],
  dtype: np.dtype | None,
  packed: bool,
) -> ExportedModel:
  """Writes a SavedModel beside `target`, verifies it and renames it."""
  # Only here, because they import TensorFlow.
  private_name_check.check('export', of=('tensorflow',))
  from tf_unilth.export import packed_saved_model, saved_model_verification

  batch = saved_model_verification.checked_batch(model, inputs)
  with output_paths.write_errors('path', target):
    synchronization.make_folder(target.parent)
    with temporary_folder(target) as folder:
      written = os.path.join(folder, 'saved_model')
      serve, groups = packed_saved_model.write(
        model, written, signatures, dtype, packed
      )
      exported = saved_model_verification.verify(
        model, written, serve, batch, exact=dtype is None
      )
      directory_swap.replace(pathlib.Path(written), target, folder / 'replaced')
  return dataclasses.replace(
    exported,
    packed=sum(len(group.weights) for group in groups),
    stored_bytes=exported.dense_bytes - sum(g.saved_bytes for g in groups),
  )


def _check_target(path: Any, overwrite: bool) -> pathlib.Path:
  """Returns the path to write; restores a backup of an interrupted export."""
  target = output_paths.check_path('path', path)
  if directory_swap.restore(target):
    warn_user(
      f'an export to {str(target)!r} was interrupted; the previous export was '
      'put back.',
    )
  return output_paths.check_new_file('path', target, overwrite)


def _check_options(
  dtype: str, packed: bool, signatures: Mapping[str, Any]
) -> None:
  check_option('dtype', dtype, _DTYPES)
  check_bool('packed', packed)
  if not isinstance(signatures, Mapping) or not all(
    isinstance(name, str) and hasattr(function, 'get_concrete_function')
    for name, function in signatures.items()
  ):
    raise ValueError(
      'signatures must be a dict from names to tf.functions, but is '
      f'{format_value(signatures)}.'
    )
  if dtype != 'float32' and not packed:
    raise ValueError(
      f'dtype={dtype!r} needs packed=True: a plain SavedModel keeps the types '
      'of the weights.'
    )
