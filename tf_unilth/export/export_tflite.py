"""export_tflite: sparse and quantised TFLite files, run before they stay."""

import contextlib
import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tf_unilth.argument_checks import check_bool, check_option, format_value
from tf_unilth.engines.tfmot import sparsity_summary
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.model_layers import flatten_layers
from tf_unilth.export import export_checks, float32, representative_data
from tf_unilth.export.model_inputs import Arrays, ModelInputs
from tf_unilth.export.quiet import silenced
from tf_unilth.export.tflite_file import StoredTensor, read_tflite
from tf_unilth.export.tflite_run import (
  SIGNATURE,
  Port,
  Runner,
  Tolerance,
  WrongOutputsError,
  compare,
  verify,
)
from tf_unilth.files import output_paths

# Of the largest output. Quantised ones are further off in deep networks, but
# what is merely inaccurate still correlates.
_TOLERANCES = {
  None: Tolerance(1e-5),
  'float16': Tolerance(0.01, 0.999),
  'dynamic': Tolerance(0.15, 0.97),
  'int8': Tolerance(0.15, 0.97),
}
# What a model may differ by that is rebuilt in float32.
_PRECISIONS = {
  'half precision': Tolerance(0.15, 0.97),
  'float64': Tolerance(0.01, 0.999),
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
_INFERENCE_TYPES = ('float32', 'int8', 'uint8')
_SEEDS = (0, 1, 2)  # Of the made-up inputs.
_COMPARED = 64  # Samples of representative data.


@dataclasses.dataclass(frozen=True)
class TFLiteExport:
  """What export_tflite wrote; prints as the report of its verification.

  Args:
    path: the file.
    bytes: its size.
    dense_bytes: the size of a plain conversion, dense and float32.
    encoding: how the weights lie, `'sparse'` or `'dense'`.
    quantization: as asked for.
    batch: the batch size that it takes, `None` if any.
    difference: the largest of the outputs, as a fraction of the largest.
    tolerance: the largest difference that would have been accepted.
    zeros: how many zeros the model's kernels have.
    zeros_kept: how many of them the file has.
    notes: what else there is to know, a sentence each.
    inputs: of the file, with their types and, if quantised, scales.
    outputs: likewise.
  """

  path: str
  bytes: int
  dense_bytes: int
  encoding: str
  quantization: str | None
  batch: int | None
  difference: float
  tolerance: float
  zeros: int
  zeros_kept: int
  notes: tuple[str, ...] = ()
  inputs: tuple[Port, ...] = ()
  outputs: tuple[Port, ...] = ()

  def __str__(self) -> str:
    batch = 'any batch size' if self.batch is None else f'batch {self.batch}'
    ratio = self.dense_bytes / self.bytes
    smaller = f' ({ratio:.1f} times smaller)' if ratio > 1.05 else ''
    lines = [
      f'{self.bytes:,} bytes{smaller}; a plain conversion has '
      f'{self.dense_bytes:,}',
      f'{self.encoding} {self.quantization or "float32"}, {batch}',
      f'outputs differ by {self.difference:.1e} of the largest at most '
      f'({self.tolerance:g} allowed), with and without delegates',
      f'zeros kept: {self.zeros_kept:,} of {self.zeros:,}',
      *_quantized_ports('inputs', self.inputs),
      *_quantized_ports('outputs', self.outputs),
      *(f'note: {note}' for note in self.notes),
    ]
    return '\n'.join(lines)


def _quantized_ports(what: str, ports: tuple[Port, ...]) -> list[str]:
  """Returns a line on inputs or outputs, if any is quantised."""
  if not any(port.scale for port in ports):
    return []
  return [f'{what}: ' + '; '.join(str(port) for port in ports)]


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
      exporter = _Exporter(model, quantization, shown, samples, types)
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
    tolerance=_TOLERANCES[quantization].difference,
    zeros=sum(row.zeros for row in kernels),
    zeros_kept=_zeros_kept(kernels, stored),
    notes=(*notes, *found.notes),
    inputs=found.inputs,
    outputs=found.outputs,
  )


def _check(
  target: pathlib.Path, quantization: str | None, representative: Any
) -> None:
  kinds = [kind for kind in _TOLERANCES if kind]
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


def _expected(model: keras.Model, batches: list[Arrays]) -> list[Arrays]:
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


def _notes_on_precision(
  given: keras.Model, model: keras.Model, batches: list[Arrays]
) -> list[str]:
  """Compares a model that was rebuilt in float32 with what it was."""
  if model is given:
    return []
  precision = float32.precision(given)
  largest = 0.0
  for a, b in zip(_expected(given, batches), _expected(model, batches)):
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


@dataclasses.dataclass(frozen=True)
class _Written:
  """What an exporter found out."""

  dense_bytes: int
  batch: int | None
  difference: float
  notes: tuple[str, ...]
  inputs: tuple[Port, ...]
  outputs: tuple[Port, ...]


class _ConversionError(Exception):
  """What the converter says."""


class _Exporter:
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

  def write(self, path: pathlib.Path, sparse: bool) -> _Written:
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
  ) -> _Written:
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
        return _Written(
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
    expected = _expected(self._model, batches)
    return verify(path, batches, expected, _TOLERANCES[self._quantization])

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


def _zeros_kept(
  kernels: tuple[sparsity_summary.Row, ...], stored: tuple[StoredTensor, ...]
) -> int:
  """Returns how many of the kernels' zeros a file has.

  The converter renames, transposes and splits kernels. So each is looked for
  among what has as many elements, and those that are left, among all the rest.
  """
  rest = sorted(stored, key=lambda tensor: tensor.zeros)
  kept, missing = 0, 0
  for row in sorted(kernels, key=lambda row: row.zeros):
    same = [t for t in rest if t.weights == row.weights]
    enough = [t for t in same if t.zeros >= row.zeros] or same[-1:]
    if enough:
      rest.remove(enough[0])
      kept += min(enough[0].zeros, row.zeros)
    else:
      missing += row.zeros
  return kept + min(missing, sum(tensor.zeros for tensor in rest))


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
