"""What lies in a SavedModel, a TFLite or Keras file, a ticket, a run."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

import tf_unilth
from tf_unilth.engines.tfmot import keras_3_errors
from tf_unilth.export import packing
from tf_unilth.export.quiet import silenced
from tf_unilth.export.tflite_file import read_tflite

_HEADER = ('tensor', 'shape', 'type', 'weights', 'zeros', 'sparsity', 'bytes')


class UnreadableError(Exception):
  """A path that holds nothing known, or damaged; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Weight:
  """One tensor with two axes or more.

  Args:
    name: as the file has it.
    shape: when it is unpacked.
    dtype: of what is stored.
    zeros: how many elements are 0.
    bytes: as stored, uncompressed.
    finite: whether no element is NaN or infinite.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  zeros: int
  bytes: int
  finite: bool

  @property
  def weights(self) -> int:
    """How many elements there are."""
    return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Check:
  """What was looked at, whether it is right, and what was found."""

  name: str
  passed: bool
  found: str = ''


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a path holds; prints as a table.

  Args:
    kind: of the file or folder.
    path: where it lies.
    weights: its tensors with two axes or more.
    bytes: all of it, on disk.
    checks: what was looked at.
    facts: what else there is to know, by name.
  """

  kind: str
  path: str
  weights: tuple[Weight, ...]
  bytes: int
  checks: tuple[Check, ...]
  facts: dict[str, str] = dataclasses.field(default_factory=dict)

  @property
  def zeros(self) -> int:
    """How many weights are 0."""
    return sum(weight.zeros for weight in self.weights)

  def __str__(self) -> str:
    rows = [
      _row(w.name, ' x '.join(map(str, w.shape)), w.dtype, w)
      for w in self.weights
    ]
    lines = [f'{self.kind} {self.path}', '']
    facts = dict(self.facts)
    if rows:
      lines += [*table([_HEADER, *rows], left=3), '']
      facts |= _totals(self)
    facts['bytes on disk'] = f'{self.bytes:,}'
    for check in self.checks:
      verdict = 'passed' if check.passed else 'FAILED'
      detail = f' ({check.found})' if check.found else ''
      facts[f'check: {check.name}'] = verdict + detail
    width = max(map(len, facts))
    lines += [f'{key.ljust(width)}  {value}' for key, value in facts.items()]
    return '\n'.join(lines)


def _totals(contents: Contents) -> dict[str, str]:
  count = sum(weight.weights for weight in contents.weights)
  stored = sum(weight.bytes for weight in contents.weights)
  return {
    'weights': f'{count:,}, {contents.zeros:,} zeros '
    f'({100 * contents.zeros / max(count, 1):.3f}%)',
    'bytes stored': f'{stored:,}, dense float32 {4 * count:,} '
    f'({4 * count / max(stored, 1):.1f} times as many)',
  }


def _row(name: str, shape: str, dtype: str, weight: Weight) -> tuple[str, ...]:
  share = 100 * weight.zeros / max(weight.weights, 1)
  numbers = f'{weight.weights:,}', f'{weight.zeros:,}', f'{share:.3f}%'
  return name, shape, dtype, *numbers, f'{weight.bytes:,}'


def table(rows: list[tuple[str, ...]], left: int) -> list[str]:
  """Returns the lines of a table.

  Args:
    rows: of cells, the header first.
    left: how many columns are words, and not numbers.
  """
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    '  '.join(
      cell.ljust(width) if i < left else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  ]
  return [lines[0], '-' * len(lines[0]), *lines[1:]]


def kind_of(path: str | os.PathLike[str]) -> str:
  """Returns what a path holds, a name of `READERS`.

  Raises:
    UnreadableError: nothing is there, or nothing known.
  """
  place = pathlib.Path(path)
  if place.is_dir():
    if (place / 'config.json').is_file():
      return 'run directory'
    if (place / 'saved_model.pb').is_file():
      return 'SavedModel'
    raise UnreadableError(
      f'{str(place)!r} is neither a SavedModel nor a run directory: it has no '
      'saved_model.pb and no config.json.'
    )
  try:
    with place.open('rb') as file:
      begin = file.read(8)
  except OSError as error:
    raise UnreadableError(f'{str(place)!r}: {error.strerror}.') from error
  if begin[4:8] == b'TFL3':
    return 'TFLite file'
  if begin[:2] == b'PK' or begin == b'\x89HDF\r\n\x1a\n':
    return 'Keras file'
  if begin[1:4] == b'TKT':
    return 'ticket'
  raise UnreadableError(
    f'{str(place)!r} is no file that is known here: no TFLite, .keras or .h5 '
    'file, and no ticket.'
  )


def read(path: str | os.PathLike[str]) -> Contents:
  """Returns what a path holds.

  Raises:
    UnreadableError: nothing known, or something damaged.
  """
  reader = READERS[kind_of(path)]
  return guarded(lambda: reader(pathlib.Path(path)), path)


def guarded(
  work: Callable[[], Any], path: str | os.PathLike[str], verb: str = 'read'
) -> Any:
  """Returns what `work` does, silently; any error as one line.

  Raises:
    UnreadableError: `work` failed.
  """
  try:
    with silenced():
      return work()
  except UnreadableError:
    raise
  # TensorFlow, Keras, protobuf, h5py and zipfile fail on damaged files with
  # whatever they meet first.
  except Exception as error:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    raise UnreadableError(
      f'{os.fspath(path)!r} cannot be {verb}: {lines[0][:300]}'
    ) from error


def _read_tflite(path: pathlib.Path) -> Contents:
  stored = read_tflite(path)
  tf.lite.Interpreter(model_path=str(path)).allocate_tensors()
  weights = tuple(
    Weight(t.name, t.shape, t.dtype, t.zeros, t.bytes, t.finite) for t in stored
  )
  sparse = sum(tensor.sparse for tensor in stored)
  facts = {'sparse tensors': f'{sparse} of {len(stored)}'}
  return _contents('TFLite file', path, weights, path.stat().st_size, facts)


def _folder_bytes(path: pathlib.Path) -> int:
  return sum(f.stat().st_size for f in path.rglob('*') if f.is_file())


def _read_saved_model(path: pathlib.Path) -> Contents:
  loaded = tf.saved_model.load(str(path))
  facts = {'signatures': ', '.join(loaded.signatures) or 'none'}
  stored = dict(_variables(path))
  values = {v.name.split(':')[0]: v for v in getattr(loaded, 'variables', ())}
  # What is stored packed has a value once it is loaded, but no name on disk.
  packed = {
    name: variable.numpy()
    for name, variable in values.items()
    if name not in stored
  }
  weights = _matrices({**stored, **packed}.items())
  sizes = {weight.name: weight.bytes for weight in weights}
  sizes |= {
    name: packing.pack(value).nbytes
    for name, value in packed.items()
    if name in sizes
  }
  facts['packed tensors'] = f'{sum(n in packed for n in sizes)} of {len(sizes)}'
  return _contents(
    'SavedModel',
    path,
    tuple(dataclasses.replace(w, bytes=sizes[w.name]) for w in weights),
    _folder_bytes(path),
    facts,
  )


def _read_ticket(path: pathlib.Path) -> Contents:
  ticket = tf_unilth.Ticket.load(path)
  weights = tuple(
    Weight(
      name=name,
      shape=mask.shape,
      dtype='mask',
      zeros=int(np.sum(~mask)),
      bytes=-(-mask.size // 8),
      finite=True,
    )
    for name, mask in ticket.masks.items()
  )
  facts = {
    'method': str(ticket.method),
    'seed': str(ticket.seed),
    'rewind weights': 'no' if ticket.rewind_weights is None else 'yes',
  }
  return _contents('ticket', path, weights, path.stat().st_size, facts)


def _variables(path: pathlib.Path) -> Iterable[tuple[str, np.ndarray]]:
  """Yields names and values of the variables of a SavedModel."""
  prefix = path / 'variables' / 'variables'
  if not prefix.with_suffix('.index').exists():
    return  # A SavedModel without variables.
  reader = tf.train.load_checkpoint(str(prefix))
  graph = trackable_object_graph_pb2.TrackableObjectGraph()
  graph.ParseFromString(reader.get_tensor('_CHECKPOINTABLE_OBJECT_GRAPH'))
  found = set()
  for node in graph.nodes:
    for attribute in node.attributes:
      key = attribute.checkpoint_key
      if reader.has_tensor(key) and key not in found:
        found.add(key)
        name = attribute.full_name or key.split('/.ATTRIBUTES')[0]
        yield name, reader.get_tensor(key)


def load_keras(path: pathlib.Path) -> keras.Model:
  """Returns the model of a `.keras` or `.h5` file.

  Raises:
    UnreadableError: Keras 3 has saved it.
  """
  version = ''
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as file, contextlib.suppress(KeyError):
      version = json.loads(file.read('metadata.json')).get('keras_version', '')
  elif h5py.is_hdf5(path):
    with h5py.File(path) as file:
      version = file.attrs.get('keras_version', '')
  if str(version).startswith('3.'):
    raise UnreadableError(
      f'{str(path)!r} was saved by Keras {version}, which tf_keras cannot load '
      f'and tfmot cannot prune. {keras_3_errors.rebuild(keras.Model)}'
    )
  return keras.models.load_model(path, compile=False)


def _read_keras(path: pathlib.Path) -> Contents:
  model = load_keras(path)
  weights = _matrices((w.name.split(':')[0], w.numpy()) for w in model.weights)
  wrapped = tf_unilth.sparsity_summary(model).left
  facts = {'model': f'{model.name} ({type(model).__name__})'}
  if wrapped:
    facts['pruning'] = 'still wrapped: tensors hold masks too'
  return _contents('Keras file', path, weights, path.stat().st_size, facts)


def _read_run(path: pathlib.Path) -> Contents:
  config = json.loads((path / 'config.json').read_text())
  facts = {key: str(value) for key, value in config.items()}
  size = _folder_bytes(path)
  if not (path / 'results.json').exists():
    checks = (Check('finished', False, 'no results.json'),)
    return Contents('run directory', str(path), (), size, checks, facts)
  results = json.loads((path / 'results.json').read_text())
  inner = read(path / 'saved_model')
  said = results['total_weights'] - results['nonzero_weights']
  facts |= {
    'test accuracy': f'{100 * results["test_accuracy"]:.2f}%',
    'sparsity': f'{100 * results["sparsity"]:.3f}%',
  }
  found = f'{inner.zeros:,} in the SavedModel, {said:,} in results.json'
  # Tensors that are never pruned may have zeros by chance.
  as_said = Check('zeros as results.json says', inner.zeros >= said, found)
  return dataclasses.replace(
    inner,
    kind='run directory',
    path=str(path),
    bytes=size,
    checks=(*inner.checks, as_said),
    facts=facts | inner.facts,
  )


def _matrices(
  named: Iterable[tuple[str, np.ndarray]],
) -> tuple[Weight, ...]:
  return tuple(
    Weight(
      name=name,
      shape=value.shape,
      dtype=value.dtype.name,
      zeros=value.size - int(np.count_nonzero(value)),
      bytes=value.nbytes,
      finite=bool(np.isfinite(value.astype(np.float32)).all()),
    )
    for name, value in named
    if isinstance(value, np.ndarray)
    and value.ndim > 1
    and tf.as_dtype(value.dtype).is_floating
  )


def _contents(
  kind: str,
  path: pathlib.Path,
  weights: tuple[Weight, ...],
  size: int,
  facts: dict[str, str],
) -> Contents:
  bad = [weight.name for weight in weights if not weight.finite]
  zeros = sum(weight.zeros for weight in weights)
  checks = (
    Check('loads', True),
    Check('finite', not bad, ', '.join(bad)),
    Check('zeros', True, f'{zeros:,}' if zeros else 'none: a dense model'),
  )
  return Contents(kind, str(path), weights, size, checks, facts)


# One row a kind; `kind_of` tells them apart.
READERS: dict[str, Callable[[pathlib.Path], Contents]] = {
  'SavedModel': _read_saved_model,
  'TFLite file': _read_tflite,
  'Keras file': _read_keras,
  'ticket': _read_ticket,
  'run directory': _read_run,
}
