"""`--initial_weights`: loads the weights of a file into a recipe's network.

Keras archives and HDF5 files are read as arrays: no code in them is executed,
and files of Keras 3 load if they have the same layout. An error names the first
difference between file and network, before a weight is changed.
"""

import hashlib
import importlib
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from recipes.data.arrays import DataError
from tf_unilth import inspection

# The file of the weights in a `.keras` archive.
_IN_ARCHIVE = 'model.weights.h5'
_CHUNK = 1 << 20
Named = list[tuple[str, np.ndarray]]


def digest(path: str | os.PathLike[str]) -> str:
  """Returns the SHA-256 of a file, or of all files of a SavedModel.

  Args:
    path: as of `load`.

  Raises:
    DataError: there is no file with weights.
  """
  place = _place(path)
  found = hashlib.sha256()
  try:
    for file in _files(place):
      found.update(f'{file.relative_to(place)}\n'.encode())
      with file.open('rb') as content:
        while chunk := content.read(_CHUNK):
          found.update(chunk)
  except OSError as error:
    reason = error.strerror
    raise DataError(f'{_flag(path)} cannot be read: {reason}.') from None
  return found.hexdigest()


def load(model: Any, path: str | os.PathLike[str]) -> None:
  """Loads the weights of a file into a model.

  Args:
    model: built; not wrapped for pruning.
    path: a `.weights.h5`, `.h5` or `.keras` file, a SavedModel, or the run
      directory of a recipe with a SavedModel in it.

  Raises:
    DataError: it cannot be read, or has another architecture; the message
      names the first difference.
  """
  place = _place(path)
  try:
    values = inspection.with_read_errors(lambda: _read(model, place), path)
  except inspection.UnreadableError as error:
    raise DataError(f'--initial_weights: {error}') from None
  difference = inspection.weight_mismatch(
    values, [(weight.name, weight) for weight in model.weights]
  )
  if difference:
    raise DataError(
      f'{_flag(path)} does not fit: {difference}{_wrapped(values)}'
    )
  for weight, (_, value) in zip(model.weights, values, strict=True):
    weight.assign(value)


def _flag(path: str | os.PathLike[str]) -> str:
  return f'--initial_weights={os.fspath(path)}'


def _place(path: str | os.PathLike[str]) -> pathlib.Path:
  """Returns the path of the weights: of the file or the SavedModel."""
  wrong = (
    f'{_flag(path)} must be a .weights.h5, .h5 or .keras file, a SavedModel or '
    'a run directory, but'
  )
  try:
    kind = inspection.kind_of(path)
  except inspection.UnreadableError as error:
    raise DataError(f'{wrong} {error}') from None
  place = pathlib.Path(path)
  if kind == 'run directory':
    place = place / 'saved_model'
    if not place.is_dir():
      raise DataError(
        f'{_flag(path)} is a run directory without a saved_model: the run must '
        'be finished, with --export=saved_model.'
      )
  elif kind not in ('SavedModel', 'Keras file'):
    raise DataError(f'{wrong} is a {kind}.')
  return place


def _files(place: pathlib.Path) -> list[pathlib.Path]:
  if place.is_file():
    return [place]
  return sorted(file for file in place.rglob('*') if file.is_file())


def _read(model: Any, place: pathlib.Path) -> Named:
  """Returns names and values in the order of the model's weights."""
  if place.is_dir():
    variables = tf.saved_model.load(str(place)).variables
    return [(variable.name, variable.numpy()) for variable in variables]
  if zipfile.is_zipfile(place):
    with zipfile.ZipFile(place) as archive, archive.open(_IN_ARCHIVE) as file:
      return _read_hdf5(model, h5py.File(file, 'r'))
  return _read_hdf5(model, h5py.File(place, 'r'))


def _read_hdf5(model: Any, file: h5py.File) -> Named:
  with file:
    whole = file.get('model_weights', file)  # Of a model, or weights alone.
    if 'layer_names' in whole.attrs:
      return list(_of_layers(whole))
    return _of_paths(model, file)


def _of_layers(group: h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
  """Yields the weights of an `.h5` file of `save_weights`, layer by layer."""
  for layer in _texts(group, 'layer_names'):
    for name in _texts(group[layer], 'weight_names'):
      yield name, group[layer][name][()]


def _texts(group: h5py.Group, attribute: str) -> list[str]:
  """Returns the names in an attribute, which are text or bytes."""
  return [
    name.decode() if isinstance(name, bytes) else str(name)
    for name in group.attrs[attribute]
  ]


def _of_paths(model: Any, file: h5py.File) -> Named:
  """Returns the arrays of a `.weights.h5` file in the order of the weights.

  The file names arrays by paths. To find the path of each weight, a copy of the
  model is saved whose weights have their own indices as values.
  """
  keras = importlib.import_module(type(model).__module__.partition('.')[0])
  marked = keras.models.clone_model(model)
  marked.set_weights(
    [np.full(w.shape, i) for i, w in enumerate(model.get_weights())]
  )
  with tempfile.TemporaryDirectory() as folder:
    own = os.path.join(folder, 'own.weights.h5')
    marked.save_weights(own)
    with h5py.File(own, 'r') as expected:
      places = {
        int(data[()].flat[0]): path for path, data in _datasets(expected)
      }
  found = dict(_datasets(file))
  ordered = [places[i] for i in range(len(model.weights))]
  names = {
    path: weight.name
    for path, weight in zip(ordered, model.weights, strict=True)
  }
  # In the model's order, followed by arrays that the model does not have.
  paths = [path for path in ordered if path in found]
  paths += [path for path in found if path not in names]
  return [(names.get(path, path), found[path][()]) for path in paths]


def _datasets(file: h5py.File) -> Sequence[tuple[str, h5py.Dataset]]:
  """Returns the arrays of a `.weights.h5` file, without the optimizer's."""
  found: list[tuple[str, h5py.Dataset]] = []

  def visit(path: str, item: object) -> None:
    if isinstance(item, h5py.Dataset) and not path.startswith('optimizer/'):
      found.append((path, item))

  file.visititems(visit)
  return found


def _wrapped(values: Named) -> str:
  """Returns advice for the weights of a wrapped model, or an empty string."""
  for name, _ in values:
    if 'pruning_step' in name or 'prune_low_magnitude' in name:
      return ' It is wrapped for pruning: save what strip_pruning returns.'
  return ''
