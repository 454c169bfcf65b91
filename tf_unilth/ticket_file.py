"""The file of a ticket: what is in it byte by byte, written and read.

All numbers are little-endian:

    8 bytes    magic
    uint32     version of the format
    uint32     length of the header
    uint64     length of the whole file
    header     JSON: names, shapes, dtypes, method, seed, provenance
    masks      one bit per weight, the first in the highest bit, 1 for kept;
               each mask is filled up to whole bytes with 0
    weights    their own bytes, if there are any
    32 bytes   SHA-256 of all before

Nothing of a file is run or imported, no name in it is a path, and nothing is
allocated on its word: what the header says must add up to the file's length
first. The same ticket is the same bytes.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import stat
import struct
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# As PNG's: what moves files as text breaks it at once.
_MAGIC = b'\x89TKT\r\n\x1a\n'
_VERSION = 1
_PREFIX = struct.Struct('<8sIIQ')
_DIGEST = hashlib.sha256().digest_size
# Parsing JSON takes a multiple of its length; this is for 100,000 weights.
_LONGEST_HEADER = 1 << 24
_MOST_AXES = 32  # NumPy's.
_DTYPES = {
  dtype.name: dtype.as_numpy_dtype
  for dtype in (
    *(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.bool),
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
  )
}


class TicketFileError(ValueError):
  """A file is no ticket, or not all of one, or was altered.

  >>> path = tempfile.mkdtemp() + '/short.ticket'
  >>> _ = open(path, 'wb').write(b'half')
  >>> try:
  ...   Ticket.load(path)
  ... except TicketFileError as error:
  ...   print(str(error).partition('short.ticket')[2])
  ' is no intact ticket: it has 4 bytes, which is too short.
  """


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
  """What a file holds.

  Args:
    masks: booleans by kernel, True where a weight is kept.
    rewind_weights: values by weight, `None` if there are none.
    method: what made the ticket, if it is known.
    seed: what it was drawn from, if it was.
    provenance: what else is known of it, as JSON can hold it.
  """

  masks: Mapping[str, np.ndarray]
  rewind_weights: Mapping[str, np.ndarray] | None = None
  method: str | None = None
  seed: int | None = None
  provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def size(contents: Contents) -> int:
  """Returns how many bytes the file has, without making it."""
  header = len(_header(contents))
  return _PREFIX.size + header + _payload_size(contents) + _DIGEST


def write(
  path: str | os.PathLike[str], contents: Contents, overwrite: bool
) -> None:
  """Writes a file beside `path`, flushes it and renames it.

  Args:
    path: the file to write; its folder is made.
    contents: what to write.
    overwrite: whether an existing file is replaced.

  Raises:
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.
    ValueError: a dtype that a file cannot hold, or no JSON in `provenance`.
  """
  target = pathlib.Path(path)
  if os.path.lexists(target) and not overwrite:
    raise FileExistsError(
      f'path {str(target)!r} exists: choose another, or overwrite=True.'
    )
  target.parent.mkdir(parents=True, exist_ok=True)
  beside = target.with_name(f'.{target.name}-{uuid.uuid4().hex}')
  try:
    with open(beside, 'xb') as file:
      for chunk in _chunks(contents):
        file.write(chunk)
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, target)
  finally:
    beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Contents:
  """Reads a file that `write` wrote; trusts nothing in it.

  Args:
    path: the file.

  Raises:
    TicketFileError: it is no ticket, or not all of one, or was altered.
    OSError: it cannot be read.
  """
  try:
    return _parse(_read_bytes(path))
  except TicketFileError as error:
    raise TicketFileError(
      f'path {os.fspath(path)!r} is no intact ticket: {error}'
    ) from None


def check_dtype(name: str, array: np.ndarray) -> None:
  """Raises a `ValueError` if a file cannot hold a weight of its dtype."""
  if array.dtype.name not in _DTYPES:
    raise ValueError(
      f'weight {name!r} is of dtype {array.dtype.name}, which a ticket cannot '
      f'hold: it must be one of {", ".join(_DTYPES)}.'
    )


def _chunks(contents: Contents) -> Iterator[bytes]:
  digest = hashlib.sha256()
  for chunk in _content_chunks(contents):
    digest.update(chunk)
    yield chunk
  yield digest.digest()


def _content_chunks(contents: Contents) -> Iterator[bytes]:
  header = _header(contents)
  yield _PREFIX.pack(_MAGIC, _VERSION, len(header), size(contents))
  yield header
  for mask in contents.masks.values():
    yield np.packbits(mask).tobytes()
  for name, array in (contents.rewind_weights or {}).items():
    check_dtype(name, array)
    yield _as_integers(array).tobytes()


def _header(contents: Contents) -> bytes:
  weights = contents.rewind_weights
  fields = {
    'masks': [
      {'name': name, 'shape': mask.shape}
      for name, mask in contents.masks.items()
    ],
    'weights': None
    if weights is None
    else [
      {'name': name, 'shape': array.shape, 'dtype': array.dtype.name}
      for name, array in weights.items()
    ],
    'method': contents.method,
    'seed': contents.seed,
    'provenance': contents.provenance,
  }
  return json.dumps(
    fields, allow_nan=False, sort_keys=True, separators=(',', ':')
  ).encode()


def _payload_size(contents: Contents) -> int:
  weights = (contents.rewind_weights or {}).values()
  bits = sum(_packed_size(mask.size) for mask in contents.masks.values())
  return bits + sum(array.nbytes for array in weights)


def _packed_size(weights: int) -> int:
  return (weights + 7) // 8


def _as_integers(array: np.ndarray) -> np.ndarray:
  """Returns the bits of an array, little-endian, whatever they stand for."""
  native = np.ascontiguousarray(array)
  native = native.view(f'=u{array.dtype.itemsize}')
  return native.astype(f'<u{array.dtype.itemsize}')


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
  """Returns a file's bytes, if it can be a ticket by its first few."""
  # Before it is opened, as a pipe would wait, and a device never end.
  _require(stat.S_ISREG(os.stat(path).st_mode), 'it is not a regular file.')
  with open(path, 'rb') as file:
    length = os.fstat(file.fileno()).st_size
    prefix = file.read(_PREFIX.size)
    _check_prefix(prefix, length)
    file.seek(0)
    data = file.read(length)
  _require(len(data) == length, 'it was altered while it was read.')
  return data


def _check_prefix(prefix: bytes, length: int) -> None:
  least = _PREFIX.size + _DIGEST
  _require(length >= least, f'it has {length} bytes, which is too short.')
  magic, version, header, whole = _PREFIX.unpack(prefix)
  _require(magic == _MAGIC, 'it does not begin as a ticket does.')
  _require(
    version == _VERSION,
    f'it is of version {version}, and this tf_unilth reads {_VERSION}.',
  )
  _require(
    length == whole,
    f'it has {length} bytes, but {whole} were written: it is truncated, or '
    'something was added.',
  )
  longest = min(_LONGEST_HEADER, length - least)
  _require(
    header <= longest,
    f'its header claims {header} bytes, of {longest} at most.',
  )


def _parse(data: bytes) -> Contents:
  body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
  _require(
    hashlib.sha256(body).digest() == digest,
    'its SHA-256 is not that of its bytes: it was altered.',
  )
  end = _PREFIX.size + _PREFIX.unpack_from(body)[2]
  header = _parse_header(bytes(body[_PREFIX.size : end]))
  masks = [_Entry.of('mask', entry) for entry in _list(header, 'masks')]
  weights = (
    None
    if header['weights'] is None
    else [_Entry.of('weight', entry) for entry in _list(header, 'weights')]
  )
  entries = [*masks, *(weights or [])]
  claimed = sum(entry.bytes for entry in entries)
  _require(
    claimed == len(body) - end,
    f'its shapes claim {claimed} bytes, but it holds {len(body) - end}.',
  )
  values = iter(_arrays(body, end, entries))
  return Contents(
    _by_name(masks, values),
    None if weights is None else _by_name(weights, values),
    header['method'],
    header['seed'],
    header['provenance'],
  )


def _parse_header(text: bytes) -> dict[str, Any]:
  try:
    header = json.loads(
      text.decode(),
      object_pairs_hook=_distinct,
      parse_constant=_refuse_constant,
    )
  except TicketFileError:
    raise
  except (ValueError, RecursionError) as error:
    raise TicketFileError(f'its header is no JSON ({error}).') from None
  _check_keys('its header', header, set(_HEADER))
  for name, (kinds, words) in _HEADER.items():
    # A bool is an int to Python.
    fits = isinstance(header[name], kinds) and header[name] is not True
    fits = fits and header[name] is not False
    _require(fits, f'its {name} must be {words}, but is another thing.')
  seed = header['seed']
  _require(seed is None or seed >= 0, 'its seed must be at least 0.')
  return header


_HEADER: dict[str, tuple[Any, str]] = {
  'masks': (list, 'a list'),
  'weights': (list | None, 'a list or null'),
  'method': (str | None, 'a string or null'),
  'seed': (int | None, 'a whole number or null'),
  'provenance': (dict, 'an object'),
}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Refuses two values of one name, of which readers would take different."""
  found = dict(pairs)
  _require(len(found) == len(pairs), 'its header repeats a key.')
  return found


def _refuse_constant(name: str) -> None:
  raise TicketFileError(f'its header holds {name}, which is no JSON.')


def _list(header: dict[str, Any], name: str) -> list[Any]:
  entries = header[name]
  _require(bool(entries), f'its list of {name} is empty.')
  return entries


@dataclasses.dataclass(frozen=True)
class _Entry:
  """What a header says of one array, checked."""

  kind: str
  name: str
  shape: tuple[int, ...]
  dtype: str

  @classmethod
  def of(cls, kind: str, entry: Any) -> '_Entry':
    """Returns what a header's entry says.

    Args:
      kind: `'mask'` or `'weight'`.
      entry: what JSON has given, anything.
    """
    keys = {'name', 'shape'} | ({'dtype'} if kind == 'weight' else set())
    _check_keys(f'a {kind}', entry, keys)
    name, shape = entry['name'], entry['shape']
    _require(isinstance(name, str) and name != '', f'a {kind} has no name.')
    fits = (
      isinstance(shape, list)
      and len(shape) <= _MOST_AXES
      and all(type(length) is int and 1 <= length < 1 << 63 for length in shape)
    )
    _require(fits, f'the shape of {kind} {name!r} is none.')
    dtype = entry.get('dtype', 'bool')
    fits = isinstance(dtype, str) and dtype in _DTYPES
    _require(fits, f'the dtype of {kind} {name!r} is none that it can hold.')
    return cls(kind, name, tuple(shape), dtype)

  @property
  def size(self) -> int:
    """How many elements it claims, a Python integer of any size."""
    return math.prod(self.shape)

  @property
  def bytes(self) -> int:
    """How many bytes it claims."""
    if self.kind == 'mask':
      return _packed_size(self.size)
    return self.size * np.dtype(_DTYPES[self.dtype]).itemsize


def _arrays(
  body: memoryview, begin: int, entries: list[_Entry]
) -> Iterator[np.ndarray]:
  for entry in entries:
    raw = body[begin : begin + entry.bytes]
    begin += entry.bytes
    unpack = _mask if entry.kind == 'mask' else _weight
    yield unpack(entry, raw).reshape(entry.shape)


def _mask(entry: _Entry, raw: memoryview) -> np.ndarray:
  bits = np.unpackbits(np.frombuffer(raw, np.uint8))
  _require(
    not bits[entry.size :].any(),
    f'mask {entry.name!r} does not end in zeros.',
  )
  return bits[: entry.size].view(bool)


def _weight(entry: _Entry, raw: memoryview) -> np.ndarray:
  dtype = np.dtype(_DTYPES[entry.dtype])
  integers = np.frombuffer(raw, f'<u{dtype.itemsize}')
  fits = entry.dtype != 'bool' or integers.max() <= 1
  _require(fits, f'weight {entry.name!r} is not of booleans.')
  return integers.astype(f'=u{dtype.itemsize}').view(dtype)


def _by_name(
  entries: list[_Entry], values: Iterator[np.ndarray]
) -> dict[str, np.ndarray]:
  found: dict[str, np.ndarray] = {}
  for entry in entries:
    _require(entry.name not in found, f'two of its arrays are {entry.name!r}.')
    found[entry.name] = next(values)
  return found


def _check_keys(what: str, thing: Any, keys: set[str]) -> None:
  fits = isinstance(thing, dict) and thing.keys() == keys
  _require(fits, f'{what} must have the keys {sorted(keys)}, and no other.')


def _require(condition: bool, otherwise: str) -> None:
  if not condition:
    raise TicketFileError(otherwise)
