"""Sparse SavedModels: small, written whole or not at all, and verified."""

import dataclasses
import os
import pathlib
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.export import export_checks, packed_saved_model, verification
from tf_unilth.files import directory_swap, output_paths

_DTYPES = ('float32', 'float16')


def export_saved_model(
  model: keras.Model,
  path: str | os.PathLike[str],
  inputs: Any = None,
  overwrite: bool = False,
  signatures: Mapping[str, Any] | None = None,
  dtype: str = 'float32',
  packed: bool = True,
) -> verification.ExportedModel:
  """Writes a stripped model as a small SavedModel that TensorFlow loads.

  Weights with zeros are stored as their other values and where these are.
  Whatever loads the SavedModel (`tf.saved_model.load`, TF Serving,
  `saved_model_cli`; without tf_unilth) unpacks them, once: then it holds, and
  costs per call, what a dense one does. A weight of two dimensions or more,
  pruned or not, is packed where that saves bytes. What is to be loaded in the
  scope of a distribution strategy needs `packed=False`: there TensorFlow gives
  functions no variables while it loads, so that nothing could be unpacked.

  It is written beside `path`, loaded again by plain TensorFlow, compared with
  the model, and then renamed to `path`: no half-written export is ever there,
  and one that fails leaves the export that was there. While an export is
  replaced, it is for a moment at `.<name>.previous` beside `path`. If the
  process is killed in that moment, the next call with this `path` puts it back.

  Args:
    model: a built tf_keras model, after `strip_pruning`.
    path: the directory to write.
    inputs: a batch for the comparison: what the model takes, in its structure
      or as a dict by the inputs' names; arrays, ragged and sparse tensors. By
      default it is made up, where that is possible.
    overwrite: whether an existing `path` is replaced.
    signatures: functions to serve besides the model itself, which is `serve`
      and `serving_default`: a `tf.function` with an input signature by name.
    dtype: what the values of weights of two dimensions or more are stored in,
      `float32` (all types stay what they are) or `float16`.
    packed: whether to pack; if not, it is a plain SavedModel.

  Returns:
    What was written, with the bytes and the largest differences; print it. It
    says so if the model has no zeros.

  Raises:
    ValueError: the model is still wrapped or was never called; `inputs` do not
      fit it; `dtype` is another, cannot hold a weight, or is given with
      `packed=False`.
    TypeError: not a tf_keras model.
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.
    RuntimeError: what was written does not load as the same weights.

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
  export_checks.check_model(model)
  _check(dtype, packed, {} if signatures is None else signatures)
  target = _target(path, overwrite)
  batch = verification.checked_batch(model, inputs)
  notes = export_checks.notes_on_zeros(model)
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}-', dir=target.parent, ignore_cleanup_errors=True
  ) as folder:
    written = os.path.join(folder, 'saved_model')
    serve, groups = packed_saved_model.write(
      model,
      written,
      signatures or {},
      np.dtype(dtype) if dtype != 'float32' else None,
      packed,
    )
    exported = verification.verify(
      model, written, serve, batch, exact=dtype == 'float32'
    )
    directory_swap.replace(
      pathlib.Path(written), target, pathlib.Path(folder, 'replaced')
    )
  return dataclasses.replace(
    exported,
    path=str(target),
    packed=sum(len(group.weights) for group in groups),
    stored_bytes=exported.dense_bytes - sum(g.saved_bytes for g in groups),
    notes=notes,
  )


def _target(path: Any, overwrite: bool) -> pathlib.Path:
  """Returns where to write, with what an interrupted export left put back."""
  target = output_paths.check_path('path', path)
  if directory_swap.restore(target):
    warnings.warn(
      f'an export to {str(target)!r} was interrupted; what it was to replace '
      'was put back.',
      stacklevel=3,
    )
  return output_paths.check_new_file('path', target, overwrite)


def _check(dtype: str, packed: bool, signatures: Mapping[str, Any]) -> None:
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
      f'dtype={dtype!r} needs packed=True: a plain SavedModel '
      'has the weights as they are.'
    )
