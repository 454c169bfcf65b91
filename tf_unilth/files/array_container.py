"""Named arrays and a JSON description in one safetensors file with a checksum.

safetensors (https://github.com/huggingface/safetensors) is the format of a
header in JSON and the arrays' bytes, which many libraries read. The header's
`__metadata__` has four strings:

    sha256        SHA-256 of the file, in which these 64 digits are zeros
    format        what the file is, such as 'tf_unilth ticket'
    version       version of the format
    description   JSON

Reading executes and imports nothing from a file. Each length that a file states
is compared with the actual length before memory is allocated. Equal contents
give equal bytes.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors

from tf_unilth.files import checksummed_file, format_version
from tf_unilth.files.checksummed_file import DamagedError, require
from tf_unilth.files.format_version import VersionError

# TensorFlow and JAX take bfloat16 from ml_dtypes too.
DTYPES: dict[str, Any] = {
  'bfloat16': ml_dtypes.bfloat16,
  **{
    dtype.__name__.rstrip('_'): dtype
    for dtype in (
      *(np.float16, np.float32, np.float64, np.bool_),
      *(np.int8, np.int16, np.int32, np.int64),
      *(np.uint8, np.uint16, np.uint32, np.uint64),
    )
  },
}
# The names of the format, such as F32 and U8.
_CODES = {
  name: name[0].upper() + str(8 * np.dtype(dtype).itemsize)
  for name, dtype in DTYPES.items()
} | {'bfloat16': 'BF16', 'bool': 'BOOL'}
_NAMES = {code: name for name, code in _CODES.items()}
# All files begin with the length of the header, this text and the digest.
_START = b'{"__metadata__":{"sha256":"'
_DIGEST = slice(8 + len(_START), 8 + len(_START) + 64)
_NO_DIGEST = '0' * 64
# Parsing JSON takes a multiple of its length in memory. This limit suffices for
# 100,000 weights.
_MAX_HEADER_BYTES = 1 << 24
_MAX_RANK = 32  # NumPy's limit.


@dataclasses.dataclass(frozen=True)
class Container:
  """A kind of file that has arrays and a description.

  Args:
    noun: the name of such a file in messages.
    version: the format version to write, and the only one that is read.
  """

  noun: str
  version: int

  def size(
    self, description: dict[str, Any], arrays: Mapping[str, np.ndarray]
  ) -> int:
    """Returns the size of a file in bytes, without writing it.

    Args:
      description: as in `write`.
      arrays: as in `write`.
    """
    sizes = [array.nbytes for array in arrays.values()]
    return len(self._header(description, arrays)) + sum(sizes)

  def write(
    self,
    path: pathlib.Path,
    description: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
  ) -> None:
    """Writes a file atomically. The arrays are not copied.

    Args:
      path: the path of the file, in an existing directory.
      description: a value that JSON can hold, without NaN and infinities.
      arrays: arrays of any shape by name; their dtypes are keys of `DTYPES`.

    Raises:
      OSError: `path` cannot be written; an existing file is unchanged.
      ValueError: UTF-8 cannot encode a name, there are too many names, or the
        description is nested too deep.
    """
    header = self._header(description, arrays)
    buffers = [_buffer(arrays[name]) for name in _by_item_size(arrays)]
    digest = _digest(header, *buffers).encode()
    header = header[: _DIGEST.start] + digest + header[_DIGEST.stop :]
    checksummed_file.write(path, [header, *buffers])

  def read(
    self, path: str | os.PathLike[str]
  ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the description and the arrays of a file, after verifying it.

    Args:
      path: the path of the file.

    Raises:
      DamagedError: the file is incomplete, altered or of another format.
      VersionError: the file is intact, but of another version of the format.
      OSError: the file cannot be read.
    """
    with checksummed_file.open_regular(path) as file:
      size = os.fstat(file.fileno()).st_size
      try:
        header = self._read_header(file, size)
      except VersionError as error:
        if _is_intact(file):
          raise
        raise DamagedError(str(error)) from None
      file.seek(0)
      data = file.read(size)
    metadata = header.pop('__metadata__')
    view = memoryview(data)
    require(
      _digest(view[: _DIGEST.stop], view[_DIGEST.stop :]) == metadata['sha256'],
      'its SHA-256 does not match its content: it was altered.',
    )
    description = checksummed_file.parse(metadata['description'])
    require(isinstance(description, dict), 'its description is not an object.')
    arrays = _arrays(data)
    return description, {name: arrays[name] for name in header}

  def _header(
    self, description: dict[str, Any], arrays: Mapping[str, np.ndarray]
  ) -> bytes:
    """Returns the bytes before the arrays, with zeros for the digest."""
    if checksummed_file.is_too_deep(description):
      raise ValueError(
        f'what a {self.noun} holds must not be {checksummed_file.TOO_DEEP}.'
      )
    header: dict[str, Any] = {
      '__metadata__': {
        'sha256': _NO_DIGEST,
        'format': f'tf_unilth {self.noun}',
        'version': str(self.version),
        'description': checksummed_file.dump(description),
      }
    }
    header |= {name: None for name in arrays}  # In the caller's order.
    end = 0
    for name in _by_item_size(arrays):
      array = arrays[name]
      begin, end = end, end + array.nbytes
      header[name] = {
        'dtype': _CODES[array.dtype.name],
        'shape': array.shape,
        'data_offsets': [begin, end],
      }
    text = json.dumps(
      header, ensure_ascii=False, separators=(',', ':')
    ).encode()
    text += b' ' * (-len(text) % 8)
    if len(text) > _MAX_HEADER_BYTES:
      raise ValueError(
        f'the header of a {self.noun} must have at most {_MAX_HEADER_BYTES} '
        f'bytes, but has {len(text)}.'
      )
    return len(text).to_bytes(8, 'little') + text

  def _read_header(self, file: BinaryIO, size: int) -> dict[str, Any]:
    """Returns the header; everything that it states fits the file's size."""
    begin = file.read(_DIGEST.stop)
    require(
      len(begin) == _DIGEST.stop, f'it has {size} bytes, which is too short.'
    )
    require(
      begin[8 : _DIGEST.start] == _START,
      f'it does not begin as a {self.noun} does.',
    )
    length = int.from_bytes(begin[:8], 'little')
    require(
      length <= _MAX_HEADER_BYTES,
      f'its header claims {length} bytes, but can have at most '
      f'{_MAX_HEADER_BYTES}.',
    )
    require(
      8 + length <= size,
      f'it has {size} bytes, but its header {8 + length}: it is truncated.',
    )
    file.seek(8)
    header = checksummed_file.parse(file.read(length))
    self._check_metadata(header)
    written = 8 + length + _stated_size(header)
    require(
      size == written,
      f'it has {size} bytes, but {written} were written: it is truncated, or '
      'something was added.',
    )
    return header

  def _check_metadata(self, header: dict[str, Any]) -> None:
    metadata = header['__metadata__']
    found = metadata.get('format'), metadata.get('version')
    if all(isinstance(value, str) for value in found):
      require(
        found[0] == f'tf_unilth {self.noun}',
        f'it is not a {self.noun}, but a file of {found[0]!r}.',
      )
      # First, since another version may have other fields.
      format_version.check(found[1], self.version)
    keys = {'sha256', 'format', 'version', 'description'}
    checksummed_file.check_fields(
      metadata, {key: (str, 'a string') for key in keys}, 'its __metadata__'
    )


def is_shape(shape: Any, least: int = 1) -> bool:
  """Returns whether a value from a header is a list of dimensions.

  Args:
    shape: any value.
    least: the smallest allowed dimension.
  """
  return (
    isinstance(shape, list)
    and len(shape) <= _MAX_RANK
    and all(type(n) is int and least <= n < 1 << 63 for n in shape)
  )


def starts_as_container(begin: bytes) -> bool:
  """Returns whether the first bytes of a file are those of a container.

  Args:
    begin: the first 40 bytes, or all if there are fewer.
  """
  return begin[8 : _DIGEST.start] == _START


def _by_item_size(arrays: Mapping[str, np.ndarray]) -> list[str]:
  """Returns the names in the order of the bytes, in which all are aligned."""
  return sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)


def _buffer(array: np.ndarray) -> np.ndarray:
  """Returns the little-endian bytes of an array, a view if they are in it."""
  little = array.astype(array.dtype.newbyteorder('<'), copy=False)
  return np.ascontiguousarray(little).reshape(-1).view(np.uint8)


def _digest(begin: bytes | memoryview, *rest: Any) -> str:
  """Returns the digest of a file that begins with a header."""
  digest = hashlib.sha256(begin[: _DIGEST.start])
  digest.update(_NO_DIGEST.encode())
  digest.update(begin[_DIGEST.stop :])
  for part in rest:
    digest.update(part)
  return digest.hexdigest()


def _is_intact(file: BinaryIO) -> bool:
  """Returns whether a file's digest is that of its content."""
  file.seek(0)
  begin = file.read(_DIGEST.stop)
  found = _digest(begin, file.read()).encode()
  return found == begin[_DIGEST]


def _stated_size(header: dict[str, Any]) -> int:
  """Checks the header's entries; returns the bytes that they state."""
  total = 0
  for name, entry in header.items():
    if name == '__metadata__':
      continue
    what = f'array {name!r}'
    keys = {'dtype', 'shape', 'data_offsets'}
    checksummed_file.check_keys(what, entry, keys)
    require(is_shape(entry['shape'], least=0), f'{what} has an invalid shape.')
    fits = isinstance(entry['dtype'], str) and entry['dtype'] in _NAMES
    require(fits, f'{what} has an invalid dtype.')
    offsets = entry['data_offsets']
    fits = is_shape(offsets, least=0) and len(offsets) == 2
    require(fits, f'{what} has invalid offsets.')
    total += offsets[1] - offsets[0]
  return total


def _arrays(data: bytes) -> dict[str, np.ndarray]:
  """Returns the arrays of a file; the package compares shapes and offsets."""
  try:
    tensors = safetensors.deserialize(data)
  except safetensors.SafetensorError as error:
    raise DamagedError(f'its arrays do not fit its header: {error}') from None
  found = {}
  for name, tensor in tensors:
    if tensor['dtype'] == 'BOOL':
      values = np.frombuffer(tensor['data'], np.uint8)
      fits = not values.size or values.max() <= 1
      require(fits, f'array {name!r} has values other than 0 and 1.')
    little = np.dtype(DTYPES[_NAMES[tensor['dtype']]]).newbyteorder('<')
    # NumPy refuses an empty array if its other axes are too long.
    longest = math.prod(filter(None, tensor['shape'])) * little.itemsize
    require(longest < 1 << 63, f'array {name!r} has an invalid shape.')
    flat = np.frombuffer(tensor['data'], little)
    found[name] = flat.reshape(tensor['shape']).astype(
      little.newbyteorder('='), copy=False
    )
  return found
