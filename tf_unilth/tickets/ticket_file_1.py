"""Reads the file of a ticket of 0.1.0, format version 1.

All integers are little-endian:

    8 bytes    magic
    uint32     version of the format
    uint32     length of the header
    uint64     length of the file
    header     JSON: names, shapes, dtypes, method, seed, provenance
    masks      one bit per weight, the first in the highest bit, 1 for kept;
               each mask is padded to whole bytes with 0
    weights    the bytes of the rewind weights, if there are any
    32 bytes   SHA-256 of all bytes above

No memory is allocated before the sizes that the header states are found to add
up to the file's length.
"""

import dataclasses
import hashlib
import math
import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth.files import array_container, checksummed_file, format_version
from tf_unilth.files.array_container import DTYPES
from tf_unilth.files.checksummed_file import require
from tf_unilth.tickets.ticket_data import TicketData

MAGIC = b'\x89TKT\r\n\x1a\n'
_VERSION = 1
_PREFIX = struct.Struct('<8sIIQ')
_DIGEST = hashlib.sha256().digest_size
_MAX_HEADER_BYTES = 1 << 24


def read(path: pathlib.Path) -> TicketData:
  """Reads a file, and checks everything in it.

  Args:
    path: the file, which begins with `MAGIC`.

  Raises:
    DamagedError: it is incomplete or corrupted.
    OSError: it cannot be read.
  """
  data = _read_bytes(path)
  body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
  require(
    hashlib.sha256(body).digest() == digest,
    'its SHA-256 does not match its content: it was altered.',
  )
  end = _PREFIX.size + _PREFIX.unpack_from(body)[2]
  header = checksummed_file.parse(bytes(body[_PREFIX.size : end]))
  return _parse(header, body[end:])


def _read_bytes(path: pathlib.Path) -> bytes:
  """Returns the bytes of a file whose prefix is valid."""
  with checksummed_file.open_regular(path) as file:
    length = os.fstat(file.fileno()).st_size
    _check_prefix(file.read(_PREFIX.size), length)
    file.seek(0)
    data = file.read(length)
  require(len(data) == length, 'it changed while it was read.')
  return data


def _check_prefix(prefix: bytes, length: int) -> None:
  least = _PREFIX.size + _DIGEST
  require(length >= least, f'it has {length} bytes, which is too short.')
  _, version, header, written = _PREFIX.unpack(prefix)
  format_version.check(version, _VERSION)
  require(
    length == written,
    f'it has {length} bytes, but {written} were written: it is truncated, or '
    'something was added.',
  )
  max_header = min(_MAX_HEADER_BYTES, length - least)
  require(
    header <= max_header,
    f'its header claims {header} bytes, but can have at most {max_header}.',
  )


def _packed_size(weights: int) -> int:
  return (weights + 7) // 8


def _parse(header: dict[str, Any], payload: memoryview) -> TicketData:
  checksummed_file.check_fields(header, _HEADER_FIELDS)
  seed = header['seed']
  require(seed is None or seed >= 0, 'its seed must be at least 0.')
  masks = [_Entry.parse('mask', e) for e in _entries(header, 'masks')]
  weights = (
    None
    if header['weights'] is None
    else [_Entry.parse('weight', e) for e in _entries(header, 'weights')]
  )
  entries = [*masks, *(weights or [])]
  stated = sum(entry.bytes for entry in entries)
  require(
    stated == len(payload),
    f'its shapes claim {stated} bytes, but it holds {len(payload)}.',
  )
  values = iter(_arrays(payload, entries))
  return TicketData(
    _by_name(masks, values),
    None if weights is None else _by_name(weights, values),
    header['method'],
    header['seed'],
    header['provenance'],
  )


_HEADER_FIELDS: dict[str, tuple[Any, str]] = {
  'masks': (list, 'a list'),
  'weights': (list | None, 'a list or null'),
  'method': (str | None, 'a string or null'),
  'seed': (int | None, 'a whole number or null'),
  'provenance': (dict, 'an object'),
}


def _entries(header: dict[str, Any], name: str) -> list[Any]:
  entries = header[name]
  require(bool(entries), f'its list of {name} is empty.')
  return entries


@dataclasses.dataclass(frozen=True)
class _Entry:
  """A checked entry of the header, which describes one array."""

  kind: str
  name: str
  shape: tuple[int, ...]
  dtype: str

  @classmethod
  def parse(cls, kind: str, entry: Any) -> '_Entry':
    """Checks an entry of the header.

    Args:
      kind: `'mask'` or `'weight'`.
      entry: a value read from JSON, of any type.

    Raises:
      DamagedError: the entry is invalid.
    """
    keys = {'name', 'shape'} | ({'dtype'} if kind == 'weight' else set())
    checksummed_file.check_keys(f'a {kind}', entry, keys)
    name, shape = entry['name'], entry['shape']
    require(isinstance(name, str) and name != '', f'a {kind} has no name.')
    require(
      array_container.is_shape(shape), f'{kind} {name!r} has an invalid shape.'
    )
    dtype = entry.get('dtype', 'bool')
    fits = isinstance(dtype, str) and dtype in DTYPES
    require(fits, f'{kind} {name!r} has an invalid dtype.')
    return cls(kind, name, tuple(shape), dtype)

  @property
  def size(self) -> int:
    """The stated number of elements, a Python integer of any size."""
    return math.prod(self.shape)

  @property
  def bytes(self) -> int:
    """The stated number of bytes."""
    if self.kind == 'mask':
      return _packed_size(self.size)
    return self.size * np.dtype(DTYPES[self.dtype]).itemsize


def _arrays(payload: memoryview, entries: list[_Entry]) -> Iterator[np.ndarray]:
  begin = 0
  for entry in entries:
    raw = payload[begin : begin + entry.bytes]
    begin += entry.bytes
    unpack = _unpack_mask if entry.kind == 'mask' else _unpack_weight
    yield unpack(entry, raw).reshape(entry.shape)


def _unpack_mask(entry: _Entry, raw: memoryview) -> np.ndarray:
  bits = np.unpackbits(np.frombuffer(raw, np.uint8))
  require(
    not bits[entry.size :].any(),
    f'mask {entry.name!r} does not end in zeros: its padding must be 0.',
  )
  return bits[: entry.size].view(bool)


def _unpack_weight(entry: _Entry, raw: memoryview) -> np.ndarray:
  dtype = np.dtype(DTYPES[entry.dtype])
  integers = np.frombuffer(raw, f'<u{dtype.itemsize}')
  fits = entry.dtype != 'bool' or not integers.size or integers.max() <= 1
  require(
    fits,
    f'weight {entry.name!r} is not boolean: it has values other than 0 and 1.',
  )
  return integers.astype(f'=u{dtype.itemsize}').view(dtype)


def _by_name(
  entries: list[_Entry], values: Iterator[np.ndarray]
) -> dict[str, np.ndarray]:
  found: dict[str, np.ndarray] = {}
  for entry in entries:
    require(entry.name not in found, f'two of its arrays are {entry.name!r}.')
    found[entry.name] = next(values)
  return found
