"""export_tflite: sparse and quantised TFLite files, run before they stay."""

import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines.tfmot import sparsity_summary
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.export import export_checks, float32, representative_data
from tf_unilth.export.model_inputs import Arrays, ModelInputs
from tf_unilth.export.quiet import silenced
from tf_unilth.export.tflite_converter import (
  TOLERANCES,
  TFLiteConversion,
  expected_outputs,
)
from tf_unilth.export.tflite_file import read_tflite
from tf_unilth.export.tflite_report import TFLiteExport, count_zeros_kept
from tf_unilth.export.tflite_run import (
  Tolerance,
  WrongOutputsError,
  compare,
)
from tf_unilth.files import output_paths

# What a model may differ by that is rebuilt in float32.
_PRECISIONS = {
  'half precision': Tolerance(0.15, 0.97),
  'float64': Tolerance(0.01, 0.999),
}
_INFERENCE_TYPES = ('float32', 'int8', 'uint8')
_SEEDS = (0, 1, 2)  # Of the made-up inputs.
_COMPARED = 64  # Samples of representative data.


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
  """Writes a stripped model as a TFLite file that was run and is right.

  The file is run with the interpreter, with its default delegates and without,
  and its outputs are compared with the Keras model's. It is written beside
  `path` and renamed, so that no half or wrong file is left. Where the sparse
  encoding is larger, does not run, or computes something else, the file is
  dense, and the result says why; it also says so if the model has no zeros.
  Inputs and outputs stay float32 (or integers, as the model has them), unless
  others are asked for, and keep their names in the signature `serving_default`.
  The batch size stays free, except in recurrent models, which TFLite can only
  run with a batch of 1. A model that computes in half precision or in float64
  is written in float32. TFLite has no ragged and no sparse inputs.

  Args:
    model: a built tf_keras model, after `strip_pruning`.
    path: the file to write.
    quantization: `None`, float32 that is right within 1e-5 of the largest
      output; `'float16'` weights, within 0.01; `'dynamic'`, int8 weights, and
      `'int8'`, activations too, within 0.15 and correlated to 0.97 or more.
    representative_data: for `'int8'`, samples that show the activations'
      ranges: an array (samples, ...), or arrays in the model's structure or in
      a dict by the inputs' names; a `tf.data.Dataset` of such, batched or not;
      or a function without arguments that returns an iterator over batches, as
      TFLite's converter takes it. A tuple that does not fit the model's inputs
      is `(x, y)`, and `y` is not used. Of a dataset and of an iterator the
      first 500 samples are used, so they may be endless.
    inputs: a batch for the comparison: arrays as above; by default random ones
      (for `'int8'` the first of the representative data).
    overwrite: whether an existing `path` is replaced.
    sparse: whether zeros may be left out of the file.
    inference_input_type: `'float32'`, or for `quantization='int8'` also
      `'int8'` or `'uint8'` (or TensorFlow's types of these names): what the
      file takes in place of floats. The result tells each scale and zero point.
    inference_output_type: likewise, what the file gives.

  Returns:
    Sizes, encoding, largest difference and zeros kept; print it.

  Raises:
    ValueError: the model is still wrapped, TFLite cannot take its inputs or has
      no operations for it or no quantised type for an input or output, no
      encoding computes what the model does, or an argument does not fit.
    TypeError: not a tf_keras model.
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
  _check(target, quantization, representative_data)
  types = (
    _inference_type('inference_input_type', inference_input_type, quantization),
    _inference_type(
      'inference_output_type', inference_output_type, quantization
    ),
  )
  sparse = check_bool('sparse', sparse)
  kernels = sparsity_summary.sparsity_summary(model).rows
  _check_dense(model)
  given, model = model, float32.in_float32(model)
  shown, on_data = _shown(ModelInputs(model), representative_data)
  samples = _samples(ModelInputs(model), inputs, shown)
  notes = (
    *export_checks.notes_on_zeros(given),
    *on_data,
    *_notes_on_precision(given, model, samples),
  )
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}-', dir=target.parent
  ) as folder:
    beside = pathlib.Path(folder, 'model.tflite')
    with silenced():
      exporter = TFLiteConversion(model, quantization, shown, samples, types)
      found = exporter.write(beside, sparse)
    size = beside.stat().st_size
    stored = read_tflite(beside)
    os.replace(beside, target)
  return TFLiteExport(
    path=os.fspath(path),
    bytes=size,
    dense_bytes=found.dense_bytes,
    encoding='sparse' if any(t.sparse for t in stored) else 'dense',
    quantization=quantization,
    batch=found.batch,
    difference=found.difference,
    tolerance=TOLERANCES[quantization].difference,
    zeros=sum(row.zeros for row in kernels),
    zeros_kept=count_zeros_kept(kernels, stored),
    notes=(*notes, *found.notes),
    inputs=found.inputs,
    outputs=found.outputs,
  )


def _check(
  target: pathlib.Path, quantization: str | None, representative: Any
) -> None:
  kinds = [kind for kind in TOLERANCES if kind]
  check_option('quantization', quantization, kinds, none=True)
  if (quantization == 'int8') != (representative is not None):
    raise ValueError(
      "quantization='int8' needs representative_data, samples that show the "
      'ranges of the activations, and no other reads it; but with '
      f'quantization={quantization!r} it is {format_value(representative)}.'
    )
  if target.is_dir():
    raise IsADirectoryError(f'path {str(target)!r} is a folder, not a file.')


def _inference_type(name: str, value: Any, quantization: str | None) -> str:
  value = value.name if isinstance(value, tf.DType) else value
  found = check_option(name, value, _INFERENCE_TYPES)
  if found != 'float32' and quantization != 'int8':
    raise ValueError(
      f"{name}={found!r} needs quantization='int8', but it is {quantization!r}."
    )
  return found


def _check_dense(model: keras.Model) -> None:
  for name, spec in ModelInputs(model).specs.items():
    if not isinstance(spec, tf.TensorSpec):
      kind = 'ragged' if isinstance(spec, tf.RaggedTensorSpec) else 'sparse'
      raise ValueError(
        f'model takes a {kind} tensor as {name}, and TFLite has only dense '
        'ones: build the model with a dense Input (padded, with '
        'keras.layers.Masking, where it was ragged) and give it the weights, '
        'or use export_saved_model.'
      )


def _shown(
  takes: ModelInputs, representative: Any
) -> tuple[list[Arrays], list[str]]:
  """Returns the representative data as batches, and notes on them."""
  if representative is None:
    return [], []
  batches, count = representative_data.read(takes, representative)
  if takes.batch is not None:
    batches = representative_data.joined(batches)
  return batches, [f'calibrated on {count:,} sample{"s" * (count != 1)}']


def _samples(
  takes: ModelInputs, inputs: Any, shown: list[Arrays]
) -> list[Arrays]:
  """Returns batches for the comparison."""
  if inputs is not None:
    return [takes.named(inputs, 'inputs')]
  if shown:
    # Random inputs may lie far outside of the ranges that it shows.
    return representative_data.first(shown, max(_COMPARED, takes.batch or 0))
  return [takes.made_up(seed) for seed in _SEEDS]


def _notes_on_precision(
  given: keras.Model, model: keras.Model, batches: list[Arrays]
) -> list[str]:
  """Compares a model that was rebuilt in float32 with what it was."""
  if model is given:
    return []
  precision = float32.precision(given)
  largest = 0.0
  for a, b in zip(
    expected_outputs(given, batches), expected_outputs(model, batches)
  ):
    for name in b:
      with np.errstate(over='ignore'):  # `compare` raises of what is infinite.
        wanted = a[name].astype(np.float32)
      try:
        difference = compare(wanted, b[name], _PRECISIONS[precision])
      except WrongOutputsError as error:
        raise ValueError(
          f'the model computes in {precision}, and rebuilt in float32 it '
          f'computes something else; {name}: {error}.'
        ) from error
      largest = max(largest, difference)
  return [
    f'the model computes in {precision}, the file in float32, which differs '
    f'by {largest:.1e}'
  ]
