"""Writes TFLite files, sparse or quantized, verified before they are kept."""

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines import model_access, pruning_api
from tf_unilth.engines.kernel_sparsity import KernelSparsity
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
from tf_unilth.files import output_paths, synchronization
from tf_unilth.files.temporary_folder import temporary_folder
from tf_unilth.wording import count

# How much outputs may change when a model is rebuilt in float32.
_REBUILD_TOLERANCES = {
  'half precision': Tolerance(0.15, 0.97),
  'float64': Tolerance(0.01, 0.999),
}
_SEEDS = (0, 1, 2)  # One batch of random inputs for each.
_COMPARED_SAMPLES = 64  # Of the representative data.


def write(
  model: Any,
  target: pathlib.Path,
  quantization: str | None,
  representative: Any,
  inputs: Any,
  sparse: bool,
  types: tuple[str, str],
) -> TFLiteExport:
  """Does what `export_tflite` documents, with checked arguments.

  Args:
    model: a built model without pruning wrappers or plan.
    target: the file to write.
    quantization: as in `export_tflite`.
    representative: its `representative_data`.
    inputs: as in `export_tflite`.
    sparse: as in `export_tflite`.
    types: the types of float inputs and outputs in the file.
  """
  kernels = pruning_api.sparsity_summary(model).rows
  _check_dense_inputs(model)
  float32_model = float32.in_float32(model)
  model_inputs = ModelInputs(float32_model)
  calibration, calibration_notes = _calibration_batches(
    model_inputs, representative
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
  return _report(target, quantization, kernels, notes, file, stored)


def _values(model: Any) -> list[tuple[str, np.ndarray]]:
  """Returns the names and values of the kernels, in the summary's order."""
  access = model_access.of_model(model)
  return [(kernel.name, access.read(kernel)) for kernel in access.kernels]


def _write(
  conversion: TFLiteConversion,
  target: pathlib.Path,
  sparse: bool,
  kernels: list[tuple[str, np.ndarray]],
) -> tuple[ConvertedFile, KernelsInFile]:
  """Writes the file to a temporary folder and renames it to `target`."""
  with output_paths.write_errors('path', target):
    synchronization.make_folder(target.parent)
    with temporary_folder(target) as folder:
      temporary = folder / 'model.tflite'
      with silenced():
        file = conversion.write(temporary, sparse)
      stored = find_kernels(temporary, kernels)
      synchronization.flush_file(temporary)
      os.replace(temporary, target)
      synchronization.flush_folder(target.parent)
  return file, stored


def _report(
  path: pathlib.Path,
  quantization: str | None,
  kernels: tuple[KernelSparsity, ...],
  notes: tuple[str, ...],
  file: ConvertedFile,
  stored: KernelsInFile,
) -> TFLiteExport:
  return TFLiteExport(
    path=str(path),
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


def _check_dense_inputs(model: Any) -> None:
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
  model: Any, rebuilt: Any, batches: list[Arrays]
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
