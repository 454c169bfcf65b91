"""Reads model files, TFLite files, tickets and run directories."""

import contextlib
import dataclasses
import importlib
import json
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

from tf_unilth.engines import which_keras
from tf_unilth.engines.tfmot.sparsity_summary import sparsity_summary
from tf_unilth.export import packed_saved_model, packing
from tf_unilth.export.quiet import silenced
from tf_unilth.export.tflite_file import read_tflite
from tf_unilth.files import format_version
from tf_unilth.inspection import flops
from tf_unilth.inspection.contents import (
  Check,
  Contents,
  Weight,
  collect_contents,
)
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.ticket import Ticket


class UnreadableError(Exception):
  """The path has no known or intact content; the message is one line."""


def kind_of(path: str | os.PathLike[str]) -> str:
  """Returns the kind of content of a path, a key of `READERS`.

  Args:
    path: of a file or folder.

  Raises:
    UnreadableError: the path does not exist or has no known content.
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
      begin = file.read(40)
  except OSError as error:
    raise UnreadableError(f'{str(place)!r}: {error.strerror}.') from error
  if begin[4:8] == b'TFL3':
    return 'TFLite file'
  if begin[:2] == b'PK' or begin[:8] == b'\x89HDF\r\n\x1a\n':
    return 'Keras file'
  if ticket_file.is_ticket(begin):
    return 'ticket'
  raise UnreadableError(
    f'{str(place)!r} is of no known kind: neither a TFLite, .keras or .h5 file '
    'nor a ticket.'
  )


def read(path: str | os.PathLike[str]) -> Contents:
  """Returns the content of a path.

  Args:
    path: of a SavedModel, a TFLite, Keras or ticket file, or a run directory.

  Raises:
    UnreadableError: the content is of no known kind or is damaged.
  """
  reader = READERS[kind_of(path)]
  return with_read_errors(lambda: reader(pathlib.Path(path)), path)


def with_read_errors(
  work: Callable[[], Any], path: str | os.PathLike[str], verb: str = 'read'
) -> Any:
  """Returns the result of `work`, without its output.

  Args:
    work: reads or computes something.
    path: named in the error.
    verb: past participle for the error.

  Raises:
    UnreadableError: `work` raised; the message is one line.
  """
  try:
    with silenced():
      return work()
  except UnreadableError:
    raise
  # On damaged files TensorFlow, Keras, protobuf, h5py and zipfile raise errors
  # of many classes.
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
  running = sum(tensor.runs_sparse for tensor in stored)
  facts = {
    'sparse tensors': f'{sparse} of {len(stored)}',
    'run sparse': f'{running} of {len(stored)}',
  }
  return collect_contents(
    'TFLite file', path, weights, path.stat().st_size, facts
  )


def _folder_bytes(path: pathlib.Path) -> int:
  return sum(f.stat().st_size for f in path.rglob('*') if f.is_file())


def _read_saved_model(path: pathlib.Path) -> Contents:
  packed_saved_model.check_version(path)
  loaded = tf.saved_model.load(str(path))
  facts = {'signatures': ', '.join(loaded.signatures) or 'none'}
  stored = dict(_variables(path))
  values = {v.name.split(':')[0]: v for v in getattr(loaded, 'variables', ())}
  # Packed weights have a value after loading, but no name on disk.
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
  facts['FLOPs a sample'] = flops.saved_model_flops(loaded)
  return collect_contents(
    'SavedModel',
    path,
    tuple(dataclasses.replace(w, bytes=sizes[w.name]) for w in weights),
    _folder_bytes(path),
    facts,
  )


def _read_ticket(path: pathlib.Path) -> Contents:
  ticket = Ticket.load(path)
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
  return collect_contents('ticket', path, weights, path.stat().st_size, facts)


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


def load_keras(path: pathlib.Path) -> Any:
  """Returns the model of a `.keras` or `.h5` file, of the Keras that saved it.

  A Keras 3 model computes on the backend of this process.
  """
  version = ''
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as file, contextlib.suppress(KeyError):
      version = json.loads(file.read('metadata.json')).get('keras_version', '')
  elif h5py.is_hdf5(path):
    with h5py.File(path) as file:
      version = file.attrs.get('keras_version', '')
  if str(version).startswith('3.'):
    return importlib.import_module('keras').saving.load_model(
      path, compile=False
    )
  return keras.models.load_model(path, compile=False)


def _read_keras(path: pathlib.Path) -> Contents:
  model = load_keras(path)
  facts = {
    'model': f'{model.name} ({type(model).__name__})',
    'FLOPs a sample': flops.model_flops(model),
  }
  # Names of Keras 3 lack the layer, names of tf_keras end with ':0'.
  weights = _matrices(
    (getattr(w, 'path', w.name).split(':')[0], w.numpy()) for w in model.weights
  )
  if not which_keras.is_keras_3(model) and sparsity_summary(model).left:
    facts['pruning'] = 'still wrapped: tensors hold masks too'
  return collect_contents(
    'Keras file', path, weights, path.stat().st_size, facts
  )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  """Returns the content of a JSON file of a run directory."""
  content = json.loads(path.read_text())
  format_version.check(content.pop(format_version.KEY, 1), 1)
  return content


def _read_run(path: pathlib.Path) -> Contents:
  config = _read_json(path / 'config.json')
  facts = {key: str(value) for key, value in config.items()}
  size = _folder_bytes(path)
  if not (path / 'results.json').exists():
    checks = (Check('finished', False, 'no results.json'),)
    return Contents('run directory', str(path), (), size, checks, facts)
  results = _read_json(path / 'results.json')
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


# The reader of each kind that `kind_of` returns.
READERS: dict[str, Callable[[pathlib.Path], Contents]] = {
  'SavedModel': _read_saved_model,
  'TFLite file': _read_tflite,
  'Keras file': _read_keras,
  'ticket': _read_ticket,
  'run directory': _read_run,
}
