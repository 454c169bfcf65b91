"""Converts a float32 model to TFLite and keeps the smallest correct file."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tf_unilth.export import file_errors, sparse_int8
from tf_unilth.export.model_inputs import Arrays, ModelInputs
from tf_unilth.export.tflite_failures import ConversionError, failure_message
from tf_unilth.export.tflite_padding import sparse_with_padding
from tf_unilth.export.tflite_saved_model import save_for_conversion
from tf_unilth.export.tflite_verification import (
  SIGNATURE,
  TOLERANCES,
  Port,
  Runner,
  WrongOutputsError,
  expected_outputs,
  verify,
)

# Why a quantization is never sparse. All others are tried.
_NEVER_SPARSE = {
  'dynamic': 'sparse dynamic-range weights do not load in TFLite with its '
  'default delegates; quantization=None and float16 can be sparse',
}


@dataclasses.dataclass(frozen=True)
class ConvertedFile:
  """A TFLite file that computes what the model does.

  Args:
    bytes: the size of the file.
    dense_bytes: the size of a dense float32 conversion.
    batch: the batch size of the file; `None` if variable.
    difference: the largest output difference, as a fraction of the largest
      output.
    notes: remarks for the report, one sentence each.
    inputs: the inputs of the file.
    outputs: the outputs of the file.
  """

  bytes: int
  dense_bytes: int
  batch: int | None
  difference: float
  notes: tuple[str, ...]
  inputs: tuple[Port, ...]
  outputs: tuple[Port, ...]


class TFLiteConversion:
  """Converts a float32 model and keeps the smallest correct file.

  Args:
    model: a built float32 model.
    quantization: as in `export_tflite`.
    calibration: batches of representative data; empty except for int8.
    samples: batches on which outputs are compared.
    types: the types of float inputs and outputs in the file.
  """

  def __init__(
    self,
    model: Any,
    quantization: str | None,
    calibration: list[Arrays],
    samples: list[Arrays],
    types: tuple[str, str],
  ):
    self._model = model
    self._batch = ModelInputs(model).batch
    self._quantization = quantization
    self._calibration = calibration
    self._samples = samples
    self._types = types

  def write(self, path: pathlib.Path, sparse: bool) -> ConvertedFile:
    """Writes the smallest encoding with correct outputs.

    Args:
      path: the file to write.
      sparse: whether the sparse encoding may be used.

    Raises:
      ValueError: no encoding is correct, or TFLite does not support the model.
    """
    errors: list[Exception] = []
    for batch in (None, 1) if self._batch is None else (self._batch,):
      try:
        return self._write_with_batch(path, sparse, batch)
      except (ConversionError, WrongOutputsError) as error:
        errors.append(error)
    raise ValueError(
      failure_message(self._model.name, errors[-1], self._quantization)
    ) from errors[-1]

  def _write_with_batch(
    self, path: pathlib.Path, sparse: bool, batch: int | None
  ) -> ConvertedFile:
    dense_bytes, files, notes = self._candidates(path.parent, sparse, batch)
    for encoding in reversed(files):
      path.write_bytes(files[encoding])
      try:
        difference = self._verify(path, batch)
        if encoding == 'sparse' and self._quantization == 'int8':
          sparse_int8.verify(
            files['sparse'], files['dense'], self._batches(batch)
          )
      except WrongOutputsError as error:
        if encoding == 'dense':
          raise
        hint = '; quantization=None may be sparse' if self._quantization else ''
        notes.append(f'dense, since the sparse encoding fails: {error}{hint}')
      else:
        return ConvertedFile(
          len(files[encoding]),
          dense_bytes,
          batch,
          difference,
          tuple(notes),
          *self._ports(path),
        )
    raise AssertionError('unreachable: the dense file returns or raises')

  def _candidates(
    self, folder: pathlib.Path, sparse: bool, batch: int | None
  ) -> tuple[int, dict[str, bytes], list[str]]:
    """Returns what `_encodings` does, and why there is no sparse file."""
    notes: list[str] = []
    if batch == 1 and self._batch is None:
      notes.append('TFLite can run this model with a batch of 1 only')
    if sparse and self._quantization in _NEVER_SPARSE:
      notes.append(f'dense, since {_NEVER_SPARSE[self._quantization]}')
      sparse = False
    dense_bytes, files = self._encodings(folder, sparse, batch)
    if len(files['dense']) <= len(files.get('sparse', b'')):
      # Includes files in which the converter found no tensor sparse enough.
      del files['sparse']
      notes.append(f'dense, since {sparse_int8.TOO_FEW_ZEROS}')
    if 'sparse' in files and self._quantization == 'int8':
      reason = sparse_int8.why_not(files['sparse'])
      if reason:
        del files['sparse']
        notes.append(f'dense, since {reason}')
    return dense_bytes, files, notes

  def _encodings(
    self, folder: pathlib.Path, sparse: bool, batch: int | None
  ) -> tuple[int, dict[str, bytes]]:
    """Returns the size of a dense float32 file, and a file per encoding."""
    with (
      tempfile.TemporaryDirectory(dir=folder) as saved,
      file_errors.as_os_errors(),
    ):
      save_for_conversion(self._model, saved, batch, self._quantization)
      plain = self._convert(saved, None, sparse=False)
      files = {'dense': plain}
      if self._quantization:
        files['dense'] = self._convert(saved, self._quantization, sparse=False)
      if sparse:
        files['sparse'] = _sparse_with_padding(files['dense']) or self._convert(
          saved, self._quantization, sparse=True
        )
    return len(plain), files

  def _convert(
    self, saved: str, quantization: str | None, sparse: bool
  ) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(
      saved, signature_keys=[SIGNATURE]
    )
    optimizations = [tf.lite.Optimize.DEFAULT] if quantization else []
    if sparse:
      optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    converter.optimizations = optimizations
    if quantization == 'float16':
      converter.target_spec.supported_types = [tf.float16]
    if quantization == 'int8':
      converter.representative_dataset = self._calibration_samples
      converter.inference_input_type = tf.as_dtype(self._types[0])
      converter.inference_output_type = tf.as_dtype(self._types[1])
    try:
      return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
      raise ConversionError(str(error).strip()) from error

  def _calibration_samples(self) -> Iterator[Arrays]:
    for batch in self._calibration:
      yield from _split(batch, self._batch or 1)

  def _verify(self, path: pathlib.Path, batch: int | None) -> float:
    batches = self._batches(batch)
    expected = expected_outputs(self._model, batches)
    return verify(path, batches, expected, TOLERANCES[self._quantization])

  def _batches(self, batch: int | None) -> list[Arrays]:
    return [part for sample in self._samples for part in _split(sample, batch)]

  def _ports(
    self, path: pathlib.Path
  ) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Returns a file's inputs and outputs; checks the requested types."""
    run = Runner(path)
    found = tuple(run.inputs.values()), tuple(run.outputs.values())
    for kind, dtype, ports in zip(('input', 'output'), self._types, found):
      for port in ports:
        # Integer inputs and outputs of the model keep their types.
        if dtype != 'float32' and port.dtype == 'float32':
          raise ValueError(
            f'inference_{kind}_type={dtype!r} is not possible: TFLite leaves '
            f'the {kind} {port.name} of {self._model.name!r} in float32, since '
            "it does not quantize the layer there; use 'float32'."
          )
    return found


def _sparse_with_padding(dense: bytes) -> bytes | None:
  try:
    return sparse_with_padding(dense)
  except RuntimeError as error:
    raise ConversionError(str(error).strip()) from error


def _split(arrays: Arrays, batch: int | None) -> list[Arrays]:
  """Returns parts of exactly the batch size; drops the remainder."""
  count = min(len(array) for array in arrays.values())
  size = batch or count
  if count < size:
    raise ValueError(
      'inputs and representative_data must hold the '
      f'{size} samples that the model takes at a time, but one has {count}.'
    )
  return [
    {name: array[i : i + size] for name, array in arrays.items()}
    for i in range(0, count - size + 1, size)
  ]
