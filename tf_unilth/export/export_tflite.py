"""export_tflite: writes TFLite files, sparse or quantized, and verifies them.

The checks need no TensorFlow: a model of Keras 3 may run on another backend.
"""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines import private_name_check
from tf_unilth.export import export_checks
from tf_unilth.files import output_paths

if TYPE_CHECKING:
  from tf_unilth.export.tflite_report import TFLiteExport

_QUANTIZATIONS = ('float16', 'dynamic', 'int8')
_INFERENCE_TYPES = ('float32', 'int8', 'uint8')


def export_tflite(
  model: Any,
  path: str | os.PathLike[str],
  quantization: str | None = None,
  representative_data: Any = None,
  inputs: Any = None,
  overwrite: bool = False,
  sparse: bool = True,
  inference_input_type: Any = 'float32',
  inference_output_type: Any = 'float32',
) -> TFLiteExport:
  """Converts a stripped model to a TFLite file and verifies the file.

  The file is run with the TFLite interpreter, once with its default delegates
  and once without, and its outputs are compared with the Keras model's. It is
  written to a temporary folder beside `path` and then renamed, so no partial or
  wrong file is left. The sparse encoding is used if it is smaller, runs and
  computes the same outputs. Otherwise the file is dense and the result states
  why. The result also states if the model has no zeros.

  TFLite skips zeros only in Dense layers, in blocks of 4 inputs that are all
  zero, as `block_size=(4, 1)` makes them (16 for `'int8'`, which LiteRT must be
  installed to verify). Kernels whose inputs are no multiple of that are padded.
  The result states for each kernel whether it runs sparse or at dense speed.

  Inputs and outputs stay float32 (or the model's own integer types) unless
  other types are requested. They keep their names in the signature
  `serving_default`. The batch size stays variable, except in recurrent models:
  TFLite runs those with a batch of 1 only. Models that compute in half
  precision or float64 are converted to float32. Ragged and sparse inputs are
  not supported by TFLite.

  Args:
    model: a built model of tf_keras, or of Keras 3 on the TensorFlow or JAX
      backend, after `strip_pruning`.
    path: the file to write.
    quantization: `None` for float32; `'float16'` for float16 weights;
      `'dynamic'` for int8 weights; `'int8'` for int8 weights and activations.
      Outputs may differ by 1e-5 of the largest output for `None`, by 0.01 for
      `'float16'` and by 0.15 for the others, whose outputs must also have a
      correlation of at least 0.97.
    representative_data: samples to calibrate the activation ranges for
      `'int8'`: an array (samples, ...), or arrays in the model's structure or
      in a dict by input name; a `tf.data.Dataset` of these, batched or not; or
      a function without arguments that returns an iterator over batches, as
      for `tf.lite.TFLiteConverter`. A tuple that does not match the model's
      inputs is read as `(x, y)`, and `y` is ignored. At most the first 500
      samples of a dataset or iterator are used, so it may be infinite.
    inputs: a batch for the comparison, as arrays like the above. Default:
      random inputs (for `'int8'`, the first representative samples).
    overwrite: whether an existing `path` is replaced.
    sparse: whether the sparse encoding may be used.
    inference_input_type: the type of float inputs in the file: `'float32'`, or
      with `quantization='int8'` also `'int8'` or `'uint8'` (a string or a
      `tf.DType`). The result has each scale and zero point.
    inference_output_type: likewise, the type of float outputs.

  Returns:
    Sizes, encoding, largest output difference, zeros kept, and how each kernel
    runs; print it.

  Raises:
    ValueError: the model is still wrapped; its backend is torch, or TensorFlow
      is not installed; TFLite does not support its inputs, its operations or
      the requested input and output types; no encoding reproduces the model's
      outputs; or an argument is invalid.
    TypeError: `model` is not a Keras model.
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.

  >>> model = keras.Sequential([keras.layers.Dense(64, input_shape=(64,))])
  >>> kernel = np.eye(64, dtype='float32')
  >>> model.set_weights([kernel, np.zeros(64, 'float32')])
  >>> export = export_tflite(model, tempfile.mkdtemp() + '/model.tflite')
  >>> export.encoding, export.zeros_kept, export.bytes < export.dense_bytes / 5
  ('sparse', 4032, True)
  """
  export_checks.check_model(model, 'export_tflite')
  target = output_paths.check_new_file('path', path, overwrite)
  _check_quantization(quantization, representative_data)
  _check_not_a_folder(target)
  types = _inference_types(
    inference_input_type, inference_output_type, quantization
  )
  sparse = check_bool('sparse', sparse)
  private_name_check.check('export', of=('tensorflow',))
  from tf_unilth.export import tflite_export  # Imports TensorFlow.

  return tflite_export.write(
    model, target, quantization, representative_data, inputs, sparse, types
  )


def _check_quantization(quantization: str | None, representative: Any) -> None:
  check_option('quantization', quantization, _QUANTIZATIONS, none=True)
  if (quantization == 'int8') != (representative is not None):
    raise ValueError(
      "quantization='int8' needs representative_data, samples to calibrate the "
      'activation ranges, and only int8 uses it; but with '
      f'quantization={quantization!r} it is {format_value(representative)}.'
    )


def _check_not_a_folder(target: pathlib.Path) -> None:
  if target.is_dir():
    raise IsADirectoryError(
      f'path must be a file, but {str(target)!r} is a folder.'
    )


def _inference_types(
  input_type: Any, output_type: Any, quantization: str | None
) -> tuple[str, str]:
  return (
    _inference_type('inference_input_type', input_type, quantization),
    _inference_type('inference_output_type', output_type, quantization),
  )


def _inference_type(name: str, value: Any, quantization: str | None) -> str:
  value = getattr(value, 'name', value)  # Of a `tf.DType`.
  dtype = check_option(name, value, _INFERENCE_TYPES)
  if dtype != 'float32' and quantization != 'int8':
    raise ValueError(
      f"{name}={dtype!r} needs quantization='int8', but it is {quantization!r}."
    )
  return dtype
