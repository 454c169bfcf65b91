"""Writes and reads the file of a ticket.

It is a checksummed file (see `files/checksummed_file.py`). All numbers are
little-endian:

    header     JSON: names, shapes, dtypes, method, seed, provenance
    masks      one bit per weight, the first in the highest bit, 1 for kept;
               each mask is padded to whole bytes with 0
    weights    the bytes of the rewind weights, if there are any

Names are never used as paths. No memory is allocated before the sizes that the
header states are found to add up to the file's length. Equal tickets give equal
bytes.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_unilth.files import array_bytes, checksummed_file, output_paths
from tf_unilth.files.array_bytes import DTYPES
from tf_unilth.files.checksummed_file import DamagedError, require

_FORMAT = checksummed_file.Format('ticket', b'\x89TKT\r\n\x1a\n', 1)


class TicketFileError(DamagedError):
  """A file is not a ticket, or is incomplete or corrupted.

  Tickets are not signed: a file that was forged on purpose is not detected.

  >>> path = tempfile.mkdtemp() + '/short.ticket'
  >>> _ = open(path, 'wb').write(b'half')
  >>> try:
  ...   Ticket.load(path)
  ... except TicketFileError as error:
  ...   print(str(error).partition('short.ticket')[2])
  ' is not an intact ticket: it has 4 bytes, which is too short.
  """


@dataclasses.dataclass(frozen=True, eq=False)
class TicketData:
  """The contents of a ticket's file.

  Args:
    masks: boolean masks by kernel name, True where a weight is kept.
    rewind_weights: values by weight name; `None` if there are none.
    method: the name of the method that made the ticket, if it is known.
    seed: the seed of a random ticket, at least 0.
    provenance: further facts about the ticket, as JSON can hold them.
  """

  masks: Mapping[str, np.ndarray]
  rewind_weights: Mapping[str, np.ndarray] | None = None
  method: str | None = None
  seed: int | None = None
  provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def size(contents: TicketData) -> int:
  """Returns the size of the file in bytes, without writing it.

  Args:
    contents: the contents of the file.
  """
  return _FORMAT.size(_header(contents), _payload_size(contents))


def write(
  path: str | os.PathLike[str], contents: TicketData, overwrite: bool
) -> None:
  """Writes a temporary file beside `path`, flushes it and renames it.

  Args:
    path: the file to write; missing folders are created.
    contents: the contents of the file.
    overwrite: whether an existing file is replaced.

  Raises:
    FileExistsError: `path` exists and `overwrite` is not set.
    OSError: `path` cannot be written.
    ValueError: a dtype is not supported, or JSON cannot hold `provenance`.
  """
  target = output_paths.check_new_file('path', path, overwrite)
  chunks = _FORMAT.chunks(
    _header(contents), _payload(contents), _payload_size(contents)
  )
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    checksummed_file.write(target, chunks)
  except OSError as error:
    raise OSError(
      error.errno,
      f'path {str(target)!r} cannot be written: {error.strerror or error}',
    ) from None


def read(path: str | os.PathLike[str]) -> TicketData:
  """Reads a file that `write` wrote, and checks everything in it.

  Args:
    path: the file.

  Raises:
    TicketFileError: it is not a ticket, or is incomplete or corrupted.
    OSError: it cannot be read.
  """
  source = output_paths.check_path('path', path)
  try:
    return _parse(*_FORMAT.read(source))
  except DamagedError as error:
    raise TicketFileError(
      f'path {str(source)!r} is not an intact ticket: {error}'
    ) from None
  except OSError as error:
    raise OSError(
      error.errno, f'path {str(source)!r} cannot be read: {error.strerror}'
    ) from None


def check_dtype(name: str, array: np.ndarray) -> None:
  """Checks that a file can hold a weight's dtype.

  Args:
    name: the weight's name, for the message.
    array: its value.

  Raises:
    ValueError: the dtype is not supported.
  """
  if array.dtype.name not in DTYPES:
    raise ValueError(
      f'weight {name!r} is of dtype {array.dtype.name}, which a ticket cannot '
      f'store: it must be one of {", ".join(DTYPES)}.'
    )


def _payload(contents: TicketData) -> Iterator[bytes]:
  for mask in contents.masks.values():
    yield np.packbits(mask).tobytes()
  for name, array in (contents.rewind_weights or {}).items():
    check_dtype(name, array)
    yield array_bytes.to_bytes(array)


def _header(contents: TicketData) -> bytes:
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
  return checksummed_file.dump(fields)


def _payload_size(contents: TicketData) -> int:
  weights = (contents.rewind_weights or {}).values()
  bits = sum(_packed_size(mask.size) for mask in contents.masks.values())
  return bits + sum(array.nbytes for array in weights)


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
      array_bytes.is_shape(shape), f'{kind} {name!r} has an invalid shape.'
    )
    dtype = entry.get('dtype', 'bool')
    fits = array_bytes.is_dtype(dtype)
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
  return array_bytes.from_bytes(f'weight {entry.name!r}', raw, entry.dtype)


def _by_name(
  entries: list[_Entry], values: Iterator[np.ndarray]
) -> dict[str, np.ndarray]:
  found: dict[str, np.ndarray] = {}
  for entry in entries:
    require(entry.name not in found, f'two of its arrays are {entry.name!r}.')
    found[entry.name] = next(values)
  return found
