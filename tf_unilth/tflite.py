"""export_tflite: sparse and quantised TFLite files, run before they stay."""

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

from tf_unilth import arguments, compat, summary
from tf_unilth.compat import keras
from tf_unilth.float32 import in_float32
from tf_unilth.model_inputs import Arrays, ModelInputs
from tf_unilth.pruned_layers import PrunedLayers
from tf_unilth.quiet import silenced
from tf_unilth.tflite_file import StoredTensor, read_tflite
from tf_unilth.tflite_run import (
  SIGNATURE,
  Tolerance,
  WrongOutputsError,
  compare,
  verify,
)

# Of the largest output. Quantised ones are further off in deep networks, but
# what is merely inaccurate still correlates.
_TOLERANCES = {
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
_SEEDS = (0, 1, 2)  # Of the made-up inputs.


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
      *(f'note: {note}' for note in self.notes),
    ]
    return '\n'.join(lines)


def export_tflite(
  model: keras.Model,
  path: str | os.PathLike[str],
  quantization: str | None = None,
  representative_data: Any = None,
  inputs: Any = None,
  overwrite: bool = False,
  sparse: bool = True,
) -> TFLiteExport:
  """Writes a stripped model as a TFLite file that was run and is right.

  The file is run with the interpreter, with its default delegates and without,
  and its outputs are compared with the Keras model's. It is written beside
  `path` and renamed, so that no half or wrong file is left. Where the sparse
  encoding is larger, does not run, or computes something else, the file is
  dense, and the result says why. Inputs and outputs stay float32 (or integers,
  as the model has them) and keep their names in the signature
  `serving_default`. The batch size stays free, except in recurrent models,
  which TFLite can only run with a batch of 1. A model that computes in half
  precision is written in float32.

  Args:
    model: a built tf_keras model, after `strip_pruning`.
    path: the file to write.
    quantization: `None`, float32 that is right within 1e-5 of the largest
      output; `'float16'` weights, within 0.01; `'dynamic'`, int8 weights, and
      `'int8'`, activations too, within 0.15 and correlated to 0.97 or more.
    representative_data: for `'int8'`, samples that show the activations'
      ranges: an array (samples, ...), or arrays in the model's structure.
    inputs: a batch for the comparison, in the same form; by default random
      ones (for `'int8'` the representative data).
    overwrite: whether an existing `path` is replaced.
    sparse: whether zeros may be left out of the file.

  Returns:
    Sizes, encoding, largest difference and zeros kept; print it.

  Raises:
    ValueError: the model is still wrapped, TFLite has no operations for it, no
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
  compat.check_keras(model, 'model', keras.Model)
  target = arguments.new_file('path', path, overwrite)
  _check(model, target, quantization, representative_data)
  sparse = arguments.truth('sparse', sparse)
  kernels = summary.sparsity_summary(model).rows
  half, model = model, in_float32(model)
  samples = _samples(ModelInputs(model), inputs, representative_data)
  notes = _notes_on_half(half, model, samples)
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}-', dir=target.parent
  ) as folder:
    beside = pathlib.Path(folder, 'model.tflite')
    with silenced():
      exporter = _Exporter(model, quantization, representative_data, samples)
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
  )


def _check(
  model: keras.Model,
  target: pathlib.Path,
  quantization: str | None,
  representative_data: Any,
) -> None:
  if PrunedLayers(model).kernels:
    raise ValueError(
      'model is still wrapped: strip it and export what '
      'tf_unilth.strip_pruning(model) returns.'
    )
  kinds = [kind for kind in _TOLERANCES if kind]
  arguments.one_of('quantization', quantization, kinds, none=True)
  if (quantization == 'int8') != (representative_data is not None):
    raise ValueError(
      "quantization='int8' needs representative_data, samples that show the "
      'ranges of the activations, and no other reads it; but with '
      f'quantization={quantization!r} it is '
      f'{arguments.shown(representative_data)}.'
    )
  if target.is_dir():
    raise IsADirectoryError(f'path {str(target)!r} is a folder, not a file.')


def _samples(takes: ModelInputs, inputs: Any, representative: Any) -> list[Any]:
  """Returns batches for the comparison."""
  named: Arrays = {}
  if representative is not None:
    named = takes.named(representative, 'representative_data')
  if inputs is not None:
    return [takes.named(inputs, 'inputs')]
  if named:
    # Random inputs may lie far outside of the ranges that it shows.
    return [{name: array[:64] for name, array in named.items()}]
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


def _notes_on_half(
  half: keras.Model, model: keras.Model, batches: list[Arrays]
) -> list[str]:
  """Compares a model that was rebuilt in float32 with what it was."""
  if model is half:
    return []
  largest = 0.0
  for a, b in zip(_expected(half, batches), _expected(model, batches)):
    for name in b:
      try:
        difference = compare(
          a[name].astype(np.float32), b[name], Tolerance(0.15, 0.97)
        )
      except WrongOutputsError as error:
        raise ValueError(
          'the model computes in half precision, and rebuilt in float32 it '
          f'computes something else; {name}: {error}.'
        ) from error
      largest = max(largest, difference)
  return [
    'the model computes in half precision, the file in float32, which differs '
    f'by {largest:.1e}'
  ]


@dataclasses.dataclass(frozen=True)
class _Written:
  """What an exporter found out."""

  dense_bytes: int
  batch: int | None
  difference: float
  notes: tuple[str, ...]


class _ConversionError(Exception):
  """What the converter says."""


class _Exporter:
  """Converts a float32 model, and keeps the smallest file that is right."""

  def __init__(
    self,
    model: keras.Model,
    quantization: str | None,
    representative_data: Any,
    samples: list[Arrays],
  ):
    self._model = model
    self._takes = ModelInputs(model)
    self._quantization = quantization
    self._representative = (
      None
      if representative_data is None
      else self._takes.named(representative_data, 'representative_data')
    )
    self._samples = samples

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
      notes.append('dense, since too few weights are zero for less')
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
        return _Written(len(plain), batch, difference, tuple(notes))
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
      return self._takes.call(ordered)

    try:
      with compat.without_fused_recurrence(self._model):
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
    try:
      return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
      raise _ConversionError(str(error).strip()) from error

  def _representative_samples(self) -> Iterator[Arrays]:
    assert self._representative is not None
    yield from self._split(self._representative, self._takes.batch or 1)

  def _verify(self, path: pathlib.Path, batch: int | None) -> float:
    batches = [
      part for sample in self._samples for part in self._split(sample, batch)
    ]
    expected = _expected(self._model, batches)
    return verify(path, batches, expected, _TOLERANCES[self._quantization])

  def _split(self, arrays: Arrays, batch: int | None) -> list[Arrays]:
    """Returns parts of exactly the batch size."""
    count = min(len(array) for array in arrays.values())
    size = batch or count
    if count < size:
      raise ValueError(
        f'the model takes {size} samples at a time, not {count}.'
      )
    return [
      {name: array[i : i + size] for name, array in arrays.items()}
      for i in range(0, count - size + 1, size)
    ]

  def _cannot(self, errors: list[Exception]) -> str:
    """Returns why nothing was written, and what to do."""
    text = str(errors[-1])
    lacking = re.findall(r'^(?:TF Select|Custom) ops: (.*)$', text, re.M)
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


def _has_loops(function: Any) -> bool:
  graph = function.graph.as_graph_def()
  nodes = [
    *graph.node,
    *(n for f in graph.library.function for n in f.node_def),
  ]
  return any(node.op in ('While', 'StatelessWhile') for node in nodes)


def _zeros_kept(
  kernels: tuple[summary.Row, ...], stored: tuple[StoredTensor, ...]
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
