"""Converts a float32 model to TFLite, and keeps the smallest right file."""

import contextlib
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.model_layers import flatten_layers
from tf_unilth.export.model_inputs import Arrays, ModelInputs
from tf_unilth.export.tflite_run import (
  SIGNATURE,
  Port,
  Runner,
  Tolerance,
  WrongOutputsError,
  verify,
)

# Of the largest output. Quantised ones are further off in deep networks, but
# what is merely inaccurate still correlates.
TOLERANCES = {
  None: Tolerance(1e-5),
  'float16': Tolerance(0.01, 0.999),
  'dynamic': Tolerance(0.15, 0.97),
  'int8': Tolerance(0.15, 0.97),
}


# Why one is not written sparse; the others are tried.
_NEVER_SPARSE = {
  'dynamic': 'sparse dynamic-range weights do not load in TFLite with its '
  'default delegates; quantization=None or float16 can be sparse',
  'int8': 'sparse int8 weights do not load in LiteRT; quantization=None or '
  'float16 can be sparse',
}


# As the converter writes them.
_UNUSUAL_TYPES = {
  'f64': 'float64',
  'f16': 'float16',
  'bf16': 'bfloat16',
  'complex<f32>': 'complex64',
  'complex<f64>': 'complex128',
}


def expected_outputs(model: keras.Model, batches: list[Arrays]) -> list[Arrays]:
  takes = ModelInputs(model)
  try:
    return [
      {name: value.numpy() for name, value in takes.call(batch).items()}
      for batch in batches
    ]
  except (tf.errors.InvalidArgumentError, ValueError) as error:
    raise ValueError(
      'the model does not take the inputs of the comparison, '
      f'{ {n: a.shape for n, a in batches[0].items()} }; give it some that it '
      f'does by inputs=...: {str(error).strip().splitlines()[0]}'
    ) from error


def _dense_only(outputs: dict[str, Any]) -> dict[str, tf.Tensor]:
  for name, value in outputs.items():
    if not isinstance(value, tf.Tensor):
      raise ValueError(
        f'its output {name} is a {type(value).__name__}, and TFLite has only '
        'dense ones'
      )
  return outputs


@dataclasses.dataclass(frozen=True)
class Converted:
  """What an exporter found out."""

  dense_bytes: int
  batch: int | None
  difference: float
  notes: tuple[str, ...]
  inputs: tuple[Port, ...]
  outputs: tuple[Port, ...]


class _ConversionError(Exception):
  """What the converter says."""


class TFLiteConversion:
  """Converts a float32 model, and keeps the smallest file that is right."""

  def __init__(
    self,
    model: keras.Model,
    quantization: str | None,
    shown: list[Arrays],
    samples: list[Arrays],
    types: tuple[str, str],
  ):
    self._model = model
    self._takes = ModelInputs(model)
    self._quantization = quantization
    self._representative = shown
    self._samples = samples
    self._types = types

  def write(self, path: pathlib.Path, sparse: bool) -> Converted:
    """Writes the smallest encoding that is right.

    Raises:
      ValueError: none is, or the converter has no operations for the model.
    """
    errors: list[Exception] = []
    fixed = self._takes.batch
    for batch in (None, 1) if fixed is None else (fixed,):
      try:
        return self._write_for(path, sparse, batch)
      except (_ConversionError, WrongOutputsError) as error:
        errors.append(error)
    raise ValueError(self._cannot(errors)) from errors[-1]

  def _write_for(
    self, path: pathlib.Path, sparse: bool, batch: int | None
  ) -> Converted:
    notes = []
    if batch == 1 and self._takes.batch is None:
      notes.append('TFLite can run this model with a batch of 1 only')
    with tempfile.TemporaryDirectory(dir=path.parent) as saved:
      self._save(saved, batch)
      plain = self._convert(saved, None, sparse=False)
      files = {'dense': plain}
      if self._quantization:
        files = {'dense': self._convert(saved, self._quantization, False)}
      if sparse and self._quantization in _NEVER_SPARSE:
        notes.append(f'dense, since {_NEVER_SPARSE[self._quantization]}')
      elif sparse:
        files['sparse'] = self._convert(saved, self._quantization, True)
    if len(files['dense']) <= len(files.get('sparse', b'')):
      # Also where the converter found no tensor with zeros enough.
      del files['sparse']
      notes.append(
        'dense, since too few weights are zero for the sparse encoding to be '
        'smaller'
      )
    for encoding in reversed(files):
      path.write_bytes(files[encoding])
      try:
        difference = self._verify(path, batch)
      except WrongOutputsError as error:
        if encoding == 'dense':
          raise
        notes.append(
          f'dense, since of the sparse encoding, {error}'
          + ('; quantization=None may be sparse' if self._quantization else '')
        )
      else:
        inputs, outputs = self._ports(path)
        return Converted(
          len(plain), batch, difference, tuple(notes), inputs, outputs
        )
    raise AssertionError('unreachable: the dense file returns or raises')

  def _save(self, path: str, batch: int | None) -> None:
    """Writes what the converter reads: signatures keep all names."""
    specs = {
      name: tf.TensorSpec([batch, *spec.shape[1:]], spec.dtype, name)
      for name, spec in self._takes.specs.items()
    }
    module = tf.Module()
    # Not the model: that would trace each of its layers as well.
    module.variables_of_model = self._model.variables

    @tf.function(autograph=False)
    def serve(**arrays: tf.Tensor) -> dict[str, tf.Tensor]:
      ordered = {name: arrays[name] for name in specs}
      return _dense_only(self._takes.call(ordered))

    try:
      with without_fused_recurrence(self._model):
        concrete = serve.get_concrete_function(**specs)
      if self._quantization == 'int8' and _has_loops(concrete):
        raise _ConversionError(
          'TFLite crashes when it calibrates a loop, as in LSTM and GRU'
        )
      tf.saved_model.save(module, path, signatures={SIGNATURE: concrete})
    except (AssertionError, ValueError, TypeError) as error:
      raise _ConversionError(
        f'it cannot be saved: {str(error).strip().splitlines()[0]}'
      ) from error

  def _convert(
    self, saved: str, quantization: str | None, sparse: bool
  ) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(
      saved, signature_keys=[SIGNATURE]
    )
    chosen = [tf.lite.Optimize.DEFAULT] if quantization else []
    if sparse:
      chosen.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    converter.optimizations = chosen
    if quantization == 'float16':
      converter.target_spec.supported_types = [tf.float16]
    if quantization == 'int8':
      converter.representative_dataset = self._representative_samples
      converter.inference_input_type = tf.as_dtype(self._types[0])
      converter.inference_output_type = tf.as_dtype(self._types[1])
    try:
      return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
      raise _ConversionError(str(error).strip()) from error

  def _representative_samples(self) -> Iterator[Arrays]:
    for batch in self._representative:
      yield from self._split(batch, self._takes.batch or 1)

  def _verify(self, path: pathlib.Path, batch: int | None) -> float:
    batches = [
      part for sample in self._samples for part in self._split(sample, batch)
    ]
    expected = expected_outputs(self._model, batches)
    return verify(path, batches, expected, TOLERANCES[self._quantization])

  def _ports(
    self, path: pathlib.Path
  ) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Returns a file's inputs and outputs, of the types that were asked for."""
    run = Runner(path)
    found = tuple(run.inputs.values()), tuple(run.outputs.values())
    for what, dtype, ports in zip(('input', 'output'), self._types, found):
      for port in ports:
        # Integers of the model's own stay what they are.
        if dtype != 'float32' and port.dtype == 'float32':
          raise ValueError(
            f'inference_{what}_type={dtype!r} cannot be had: TFLite leaves the '
            f'{what} {port.name} of {self._model.name!r} in float32, since it '
            "does not quantise what is computed there; use 'float32'."
          )
    return found

  def _split(self, arrays: Arrays, batch: int | None) -> list[Arrays]:
    """Returns parts of exactly the batch size."""
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

  def _cannot(self, errors: list[Exception]) -> str:
    """Returns why nothing was written, and what to do."""
    text = str(errors[-1])
    lacking = re.findall(r'^(?:TF Select|Custom) ops: (.*)$', text, re.M)
    types = _types_of_lacking(text)
    if types:
      return (
        f'{self._model.name!r} computes {", ".join(lacking)} in '
        f'{", ".join(types)}, which TFLite cannot: compute it in float32 (by '
        'tf.cast), or use export_saved_model, which has no such limits.'
      )
    if lacking or 'SELECT_TF_OPS' in text:
      return (
        f'{self._model.name!r} needs TensorFlow operations that TFLite does '
        f'not have (its "select ops"): {", ".join(lacking) or "tensor lists"}. '
        'Files with them run in few places, so none was written; '
        'export_saved_model has no such limits.'
      )
    if isinstance(errors[-1], _ConversionError):
      why = (text.splitlines() or ['it says nothing'])[0][:300].rstrip('.')
      return f'TFLite cannot convert the model: {why}.{self._instead()}'
    return (
      f'no file was left, since it would be wrong: {text}.{self._instead()}'
    )

  def _instead(self) -> str:
    if self._quantization is None:
      return ' export_saved_model has no such limits.'
    return ' Use quantization=None' + (
      '.' if self._quantization == 'float16' else " or 'float16'."
    )


def _types_of_lacking(text: str) -> list[str]:
  """Returns the unusual types of operations that the converter lists."""
  lines = [li for li in text.splitlines() if li.startswith('\ttf.')]
  types = re.findall(r'tensor<(?:[\d?]+x)*(\w+(?:<\w+>)?)>', '\n'.join(lines))
  return sorted({_UNUSUAL_TYPES[t] for t in types if t in _UNUSUAL_TYPES})


def _has_loops(function: Any) -> bool:
  graph = function.graph.as_graph_def()
  nodes = [
    *graph.node,
    *(n for f in graph.library.function for n in f.node_def),
  ]
  return any(node.op in ('While', 'StatelessWhile') for node in nodes)


@contextlib.contextmanager
def without_fused_recurrence(model: keras.Model) -> Iterator[None]:
  """Lets LSTM and GRU layers be traced as loops over their cells for a while.

  TFLite turns what Keras traces otherwise into an operation that goes on from
  the state in which the last call left it, so that from the second call on the
  outputs are wrong.
  """
  name = '_could_use_gpu_kernel'
  layers = [i for i in flatten_layers(model) if getattr(i, name, False)]
  for layer in layers:
    setattr(layer, name, False)
  try:
    yield
  finally:
    for layer in layers:
      setattr(layer, name, True)
