"""Exports TFLite files, sparse or quantized, verified before they are kept."""

import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines.tfmot import prunable_weights, sparsity_summary
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.export import export_checks, float32, representative_data
from tf_unilth.export.model_inputs import Arrays, ModelInputs
from tf_unilth.export.quiet import silenced
from tf_unilth.export.tflite_converter import ConvertedFile, TFLiteConversion
from tf_unilth.export.tflite_kernels import KernelsInFile, find_kernels
from tf_unilth.export.tflite_report import TFLiteExport, count_zeros_kept
from tf_unilth.export.tflite_verification import (
  TOLERANCES,
  Tolerance,
  WrongOutputsError,
  compare,
  expected_outputs,
)
from tf_unilth.files import output_paths
from tf_unilth.wording import count

# How much outputs may change when a model is rebuilt in float32.
_REBUILD_TOLERANCES = {
  'half precision': Tolerance(0.15, 0.97),
  'float64': Tolerance(0.01, 0.999),
}
_INFERENCE_TYPES = ('float32', 'int8', 'uint8')
_SEEDS = (0, 1, 2)  # One batch of random inputs for each.
_COMPARED_SAMPLES = 64  # Of the representative data.


def export_tflite(
  model: keras.Model,
  path: str | os.PathLike[str],
  quantization: str | None = None,
  representative_data: Any = None,
  inputs: Any = None,
  overwrite: bool = False,
  sparse: bool = True,
  inference_input_type: str | tf.DType = 'float32',
  inference_output_type: str | tf.DType = 'float32',
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
    model: a built tf_keras model, after `strip_pruning`.
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
    ValueError: the model is still wrapped; TFLite does not support its inputs,
      its operations or the requested input and output types; no encoding
      reproduces the model's outputs; or an argument is invalid.
    TypeError: `model` is not a tf_keras model.
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.

  >>> model = keras.Sequential([keras.layers.Dense(64, input_shape=(64,))])
  >>> kernel = np.eye(64, dtype='float32')
  >>> model.set_weights([kernel, np.zeros(64, 'float32')])
  >>> export = export_tflite(model, tempfile.mkdtemp() + '/model.tflite')
  >>> export.encoding, export.zeros_kept, export.bytes < export.dense_bytes / 5
  ('sparse', 4032, True)
  """
  export_checks.check_model(model)
  target = output_paths.check_new_file('path', path, overwrite)
  _check_quantization(quantization, representative_data)
  _check_not_a_folder(target)
  types = _inference_types(
    inference_input_type, inference_output_type, quantization
  )
  sparse = check_bool('sparse', sparse)
  kernels = sparsity_summary.sparsity_summary(model).rows
  _check_dense_inputs(model)
  float32_model = float32.in_float32(model)
  model_inputs = ModelInputs(float32_model)
  calibration, calibration_notes = _calibration_batches(
    model_inputs, representative_data
  )
  samples = _comparison_batches(model_inputs, inputs, calibration)
  notes = (
    *export_checks.notes_on_zeros(model),
    *calibration_notes,
    *_notes_on_precision(model, float32_model, samples),
  )
  conversion = TFLiteConversion(
    float32_model, quantization, calibration, samples, types
  )
  file, stored = _write(conversion, target, sparse, _values(float32_model))
  return _report(path, quantization, kernels, notes, file, stored)


def _values(model: keras.Model) -> list[tuple[str, np.ndarray]]:
  return [
    (name, weight.numpy())
    for name, weight in prunable_weights.model_kernels(model)
  ]


def _write(
  conversion: TFLiteConversion,
  target: pathlib.Path,
  sparse: bool,
  kernels: list[tuple[str, np.ndarray]],
) -> tuple[ConvertedFile, KernelsInFile]:
  """Writes the file to a temporary folder and renames it to `target`."""
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}-', dir=target.parent
  ) as folder:
    temporary = pathlib.Path(folder, 'model.tflite')
    with silenced():
      file = conversion.write(temporary, sparse)
    stored = find_kernels(temporary, kernels)
    os.replace(temporary, target)
  return file, stored


def _report(
  path: str | os.PathLike[str],
  quantization: str | None,
  kernels: tuple[sparsity_summary.KernelSparsity, ...],
  notes: tuple[str, ...],
  file: ConvertedFile,
  stored: KernelsInFile,
) -> TFLiteExport:
  return TFLiteExport(
    path=os.fspath(path),
    bytes=file.bytes,
    dense_bytes=file.dense_bytes,
    encoding='sparse' if stored.has_sparse else 'dense',
    quantization=quantization,
    batch=file.batch,
    difference=file.difference,
    tolerance=TOLERANCES[quantization].difference,
    zeros=sum(row.zeros for row in kernels),
    zeros_kept=count_zeros_kept(kernels, stored.kernels, stored.others),
    notes=(*notes, *file.notes),
    inputs=file.inputs,
    outputs=file.outputs,
    kernels=stored.kernels,
  )


def _check_quantization(quantization: str | None, representative: Any) -> None:
  kinds = [kind for kind in TOLERANCES if kind]
  check_option('quantization', quantization, kinds, none=True)
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
  value = value.name if isinstance(value, tf.DType) else value
  dtype = check_option(name, value, _INFERENCE_TYPES)
  if dtype != 'float32' and quantization != 'int8':
    raise ValueError(
      f"{name}={dtype!r} needs quantization='int8', but it is {quantization!r}."
    )
  return dtype


def _check_dense_inputs(model: keras.Model) -> None:
  for name, spec in ModelInputs(model).specs.items():
    if not isinstance(spec, tf.TensorSpec):
      kind = 'ragged' if isinstance(spec, tf.RaggedTensorSpec) else 'sparse'
      raise ValueError(
        f'model takes a {kind} tensor as {name}, but TFLite supports only '
        'dense tensors. Build the model with a dense Input (pad ragged data '
        'and use keras.layers.Masking) and set the same weights, or use '
        'export_saved_model.'
      )


def _calibration_batches(
  model_inputs: ModelInputs, data: Any
) -> tuple[list[Arrays], list[str]]:
  """Returns the representative data as batches, and notes about them."""
  if data is None:
    return [], []
  batches, samples = representative_data.read(model_inputs, data)
  if model_inputs.batch is not None:
    batches = representative_data.joined(batches)
  return batches, [f'calibrated on {count(samples, "sample")}']


def _comparison_batches(
  model_inputs: ModelInputs, inputs: Any, calibration: list[Arrays]
) -> list[Arrays]:
  if inputs is not None:
    return [model_inputs.named(inputs, 'inputs')]
  if calibration:
    # Random inputs may lie far outside the calibrated ranges.
    samples = max(_COMPARED_SAMPLES, model_inputs.batch or 0)
    return representative_data.first(calibration, samples)
  return [model_inputs.made_up(seed) for seed in _SEEDS]


def _notes_on_precision(
  model: keras.Model, rebuilt: keras.Model, batches: list[Arrays]
) -> list[str]:
  """Compares a model with its float32 copy, and returns a note on it."""
  if rebuilt is model:
    return []
  precision = float32.precision(model)
  largest = 0.0
  for expected, found in zip(
    expected_outputs(model, batches), expected_outputs(rebuilt, batches)
  ):
    for name in found:
      with np.errstate(over='ignore'):  # `compare` reports infinite values.
        wanted = expected[name].astype(np.float32)
      try:
        difference = compare(
          wanted, found[name], _REBUILD_TOLERANCES[precision]
        )
      except WrongOutputsError as error:
        raise ValueError(
          f'the model computes in {precision}, and its float32 copy computes '
          f'different outputs; {name}: {error}.'
        ) from error
      largest = max(largest, difference)
  return [
    f'the model computes in {precision}, the file in float32; the outputs '
    f'differ by {largest:.1e} of the largest'
  ]
