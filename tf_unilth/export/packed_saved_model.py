"""Writes SavedModels with packed sparse weights, unpacked at load time.

In the SavedModel a packed weight is a variable without a value in the
checkpoint. The checkpoint has packed arrays instead, and one resource unpacks
them into the variables with plain operations. Every loader runs the
initializers of a SavedModel's resources once, as it does for lookup tables. The
served graph is that of a dense SavedModel and uses dense weights.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.served_model import ServedModel
from tf_unilth.export import packing, saved_model_archive
from tf_unilth.files import checksummed_json, format_version

# The format version of packed weights, and its file, in the folder that
# SavedModels have for what TensorFlow does not read.
_VERSION, _VERSION_FILE = 1, ('assets.extra', 'tf_unilth.json')
# Bytes of the unpacking graph: a fixed part, and a part for each weight.
_OVERHEAD, _OVERHEAD_PER_WEIGHT = 16_000, 500
# Weights are unpacked in groups, since for small weights the overhead of an
# operation exceeds its work. The limit bounds the memory of temporary copies.
_MAX_GROUP_ELEMENTS = 2**23


class PackedWeights(tf.Module):
  """A group of weights, stored as one packed array.

  Args:
    variables: the weights, all of one type.
    packed: their flattened values, concatenated and packed.
  """

  def __init__(self, variables: list[Any], packed: packing.PackedArray):
    super().__init__()
    # TensorFlow saves all tracked attributes; these must not be saved.
    self._untracked = saved_model_archive.Untracked((variables, packed))
    self._add('values', packed.values)
    for name in ('kept', 'negative'):
      positions = getattr(packed, name)
      if positions is not None:
        self._add(f'{name}_{positions.encoding}', positions.data)

  def _add(self, name: str, array: np.ndarray) -> None:
    setattr(self, name, tf.Variable(array, trainable=False, name=name))

  @property
  def weights(self) -> list[Any]:
    """The weights of the group."""
    return self._untracked.value[0]

  @property
  def packed(self) -> packing.PackedArray:
    """The packed values of the weights."""
    return self._untracked.value[1]

  @property
  def saved_bytes(self) -> int:
    """The number of bytes that packing saves."""
    return sum(w.numpy().nbytes for w in self.weights) - self.packed.nbytes

  def unpack(self) -> None:
    """Assigns the values to the weights; the graph form of `packing.unpack`."""
    variables = self.weights
    sizes = [variable.shape.num_elements() for variable in variables]
    for variable, flat in zip(variables, tf.split(self._flat(), sizes)):
      tf.raw_ops.AssignVariableOp(
        resource=saved_model_archive.handle(variable),
        value=tf.reshape(flat, variable.shape),
      )

  def _flat(self) -> tf.Tensor:
    dtype = self.weights[0].dtype
    values = tf.cast(self.values, dtype)
    if self.packed.kept is None:
      return values
    flat = tf.zeros([self.packed.size], dtype)
    # scatter_nd would add the values, and 0.0 + -0.0 is 0.0.
    flat = tf.tensor_scatter_nd_update(flat, self._where('kept'), values)
    if self.packed.negative is not None:
      where = self._where('negative')
      zeros = tf.fill(tf.shape(where)[:1], tf.constant(-0.0, dtype))
      flat = tf.tensor_scatter_nd_update(flat, where, zeros)
    return flat

  def _where(self, name: str) -> tf.Tensor:
    """Returns indices of shape [n, 1]; the graph form of `packing.decode`."""
    encoding = getattr(self.packed, name).encoding
    stored = getattr(self, f'{name}_{encoding}').read_value()
    if encoding == 'mask':
      bits = tf.constant([128, 64, 32, 16, 8, 4, 2, 1], tf.uint8)
      mask = tf.bitwise.bitwise_and(tf.expand_dims(stored, 1), bits)
      return tf.where(tf.reshape(tf.not_equal(mask, 0), [-1]))
    ends = tf.cumsum(tf.cast(stored, tf.int64)) - 1
    return tf.gather(ends, tf.where(tf.not_equal(stored, stored.dtype.max)))


# The functions that TensorFlow saves of a resource, without its destructor.
_FUNCTIONS = ('_create_resource', '_initialize')


class _Unpacker(tf.saved_model.experimental.TrackableResource):
  """Unpacks groups of weights when a SavedModel is loaded."""

  def __init__(self, groups: list[PackedWeights]):
    super().__init__()
    self._groups = groups

  def _initialize(self) -> None:
    saved_model_archive.call_without_grappler(self._unpack)

  def _unpack(self) -> None:
    for group in self._groups:
      group.unpack()

  def _create_resource(self) -> tf.Tensor:
    return tf.zeros([])  # A resource handle is required but never read.

  def _export_to_saved_model_graph(self, **unused: Any) -> list[Any]:
    return []

  def _trackable_children(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
    children = super()._trackable_children(*args, **kwargs)
    # There is nothing to destroy, so the function need not be loaded.
    children.pop('_destroy_resource', None)
    return {
      name: saved_model_archive.as_concrete(child)
      if name in _FUNCTIONS
      else child
      for name, child in children.items()
    }


def write(
  model: ServedModel,
  path: str,
  signatures: Mapping[str, Any],
  dtype: np.dtype | None = None,
  packed: bool = True,
) -> tuple[Callable[..., Any], list[PackedWeights]]:
  """Writes a SavedModel.

  Args:
    model: a built model, served as `serve`.
    path: a folder that does not exist.
    signatures: further `tf.function`s to serve, by name.
    dtype: the stored type of packed values; `None` keeps their type.
    packed: whether weights are packed where this saves bytes.

  Returns:
    The served function in memory, and the groups of packed weights.

  Raises:
    ValueError: the model was never called, or `dtype` cannot represent a
      weight.
  """
  archive = saved_model_archive.ExportArchive(model)
  archive.add_endpoint(
    'serve', lambda inputs: model.call(inputs), [model.signature()]
  )
  for name, function in signatures.items():
    archive.add_endpoint(name, function)
  groups = _pack(archive.used_variables(), dtype) if packed else []
  if groups:
    archive.save_without_value(
      [variable for group in groups for variable in group.weights]
    )
    archive.packed_weights = groups
    archive.unpacker = _Unpacker(groups)
  archive.write_out(path)
  if groups:
    checksummed_json.write(
      pathlib.Path(path, *_VERSION_FILE), {'packed_weights': _VERSION}
    )
  return archive.serve, groups


def check_version(path: pathlib.Path) -> None:
  """Checks the format version of the packed weights of a SavedModel.

  TensorFlow loads any version, since the SavedModel unpacks itself; who reads
  the packed arrays must know them.

  Args:
    path: its folder.

  Raises:
    DamagedError: the file with the version is damaged.
    VersionError: it is of a newer version.
  """
  file = path.joinpath(*_VERSION_FILE)
  # Files of 0.1.0, and without packed weights, do not state it.
  if file.exists():
    found = checksummed_json.read(file).get('packed_weights')
    format_version.check(found, _VERSION)


def _pack(variables: list[Any], dtype: np.dtype | None) -> list[PackedWeights]:
  """Returns groups of the weights that packing makes smaller."""
  groups: dict[Any, list[Any]] = {}
  saved = -_OVERHEAD
  for variable in variables:
    if variable.shape.rank < 2:
      continue
    array = variable.numpy()
    if not packing.is_packable(array.dtype):
      continue
    packed = packing.pack(array, _stored_dtype(variable, array, dtype))
    gain = array.nbytes - packed.nbytes - _OVERHEAD_PER_WEIGHT
    if gain > 0:
      saved += gain
      key = (packed.encoding, packed.values.dtype, array.dtype)
      groups.setdefault(key, []).append(variable)
  if saved <= 0:
    return []
  return [
    PackedWeights(portion, _pack_concatenated(portion, stored))
    for (_, stored, _), members in groups.items()  # By encoding and types.
    for portion in _portions(members)
  ]


def _pack_concatenated(
  variables: list[Any], stored: np.dtype
) -> packing.PackedArray:
  arrays = [variable.numpy().reshape(-1) for variable in variables]
  return packing.pack(np.concatenate(arrays), stored)


def _portions(variables: list[Any]) -> Iterator[list[Any]]:
  """Yields the variables in order, in lists of limited total size."""
  portion: list[Any] = []
  size = 0
  for variable in variables:
    size += variable.shape.num_elements()
    if portion and size > _MAX_GROUP_ELEMENTS:
      yield portion
      portion, size = [], variable.shape.num_elements()
    portion.append(variable)
  yield portion


def _stored_dtype(
  variable: Any, array: np.ndarray, dtype: np.dtype | None
) -> np.dtype | None:
  """Returns the stored type of a weight; raises if a value overflows it."""
  if (
    dtype is None
    or array.dtype.kind != 'f'
    or dtype.itemsize >= array.dtype.itemsize
  ):
    return None
  with np.errstate(over='ignore'):
    fits = np.isfinite(array.astype(dtype)) == np.isfinite(array)
  if not np.all(fits):
    raise ValueError(
      f'dtype={dtype.name!r} cannot represent {variable.name}, whose largest '
      f"weight is {np.abs(array[~fits]).max():g}; use dtype='float32'."
    )
  return dtype
