"""Files that say when they are not whole: written beside, sealed, renamed.

All numbers are little-endian:

    8 bytes    magic
    uint32     version of the format
    uint32     length of the header
    uint64     length of the whole file
    header     JSON
    payload    what the header describes
    32 bytes   SHA-256 of all before

Nothing of a file is run or imported, and nothing is allocated on its word:
what it claims is compared with its own length first.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
import struct
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

_PREFIX = struct.Struct('<8sIIQ')
_DIGEST = hashlib.sha256().digest_size
# Parsing JSON takes a multiple of its length; this is for 100,000 weights.
_LONGEST_HEADER = 1 << 24


class DamagedError(ValueError):
  """A file is not what it claims to be, or not all of it."""


@dataclasses.dataclass(frozen=True)
class Format:
  """A kind of files.

  Args:
    noun: what such a file is, for messages.
    magic: its first 8 bytes; as PNG's, what moves files as text breaks it.
    version: of what it writes and reads.
  """

  noun: str
  magic: bytes
  version: int

  def size(self, header: bytes, payload: int) -> int:
    """Returns the length of a file with so many bytes of payload."""
    return _PREFIX.size + len(header) + payload + _DIGEST

  def chunks(
    self, header: bytes, payload: Iterable[Any], length: int
  ) -> Iterator[bytes]:
    """Yields the bytes of a file.

    Args:
      header: JSON, as `dump` makes it.
      payload: its parts, as bytes.
      length: how many bytes they have together.
    """
    if len(header) > _LONGEST_HEADER:
      raise ValueError(
        f'a {self.noun} cannot have a header of {len(header)} bytes, of '
        f'{_LONGEST_HEADER} at most.'
      )
    digest = hashlib.sha256()
    size = self.size(header, length)
    prefix = _PREFIX.pack(self.magic, self.version, len(header), size)
    for chunk in (prefix, header, *payload):
      digest.update(chunk)
      yield chunk
    yield digest.digest()

  def read(self, path: str | os.PathLike[str]) -> tuple[dict, memoryview]:
    """Returns the header and the payload of a file; trusts nothing in it.

    Raises:
      DamagedError: it is no such file, or not all of one, or was altered.
      OSError: it cannot be read.
    """
    data = self._read_bytes(path)
    body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
    require(
      hashlib.sha256(body).digest() == digest,
      'its SHA-256 is not that of its bytes: it was altered.',
    )
    end = _PREFIX.size + _PREFIX.unpack_from(body)[2]
    return _parse(bytes(body[_PREFIX.size : end])), body[end:]

  def _read_bytes(self, path: str | os.PathLike[str]) -> bytes:
    """Returns a file's bytes, if it can be one of ours by its first few."""
    # Before it is opened, as a pipe would wait, and a device never end.
    require(stat.S_ISREG(os.stat(path).st_mode), 'it is not a regular file.')
    with open(path, 'rb') as file:
      length = os.fstat(file.fileno()).st_size
      prefix = file.read(_PREFIX.size)
      self._check_prefix(prefix, length)
      file.seek(0)
      data = file.read(length)
    require(len(data) == length, 'it was altered while it was read.')
    return data

  def _check_prefix(self, prefix: bytes, length: int) -> None:
    least = _PREFIX.size + _DIGEST
    require(length >= least, f'it has {length} bytes, which is too short.')
    magic, version, header, whole = _PREFIX.unpack(prefix)
    require(magic == self.magic, f'it does not begin as a {self.noun} does.')
    require(
      version == self.version,
      f'it is of version {version}, and this tf_unilth reads {self.version}.',
    )
    require(
      length == whole,
      f'it has {length} bytes, but {whole} were written: it is truncated, or '
      'something was added.',
    )
    longest = min(_LONGEST_HEADER, length - least)
    require(
      header <= longest,
      f'its header claims {header} bytes, of {longest} at most.',
    )


def dump(header: Any) -> bytes:
  """Returns a header's JSON: the same for the same content."""
  return json.dumps(
    header, allow_nan=False, sort_keys=True, separators=(',', ':')
  ).encode()


def write(path: pathlib.Path, chunks: Iterable[bytes]) -> None:
  """Writes a file beside `path`, flushes it and renames it.

  Whatever stops it, `path` is what it was or what it shall be.

  Raises:
    OSError: `path` cannot be written.
  """
  beside = path.with_name(f'.{path.name}-{uuid.uuid4().hex}')
  try:
    with open(beside, 'xb') as file:
      for chunk in chunks:
        file.write(chunk)
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)
  _flush_directory(path.parent)


def remove_unfinished(directory: pathlib.Path) -> None:
  """Removes what killed processes have left beside the files they wrote."""
  for path in directory.glob(f'.*-{"[0-9a-f]" * 32}'):
    path.unlink(missing_ok=True)


def _flush_directory(directory: pathlib.Path) -> None:
  """Lets a rename last through a power failure, where the system can."""
  with contextlib.suppress(OSError):
    descriptor = os.open(directory, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def _parse(text: bytes) -> dict[str, Any]:
  try:
    header = json.loads(
      text.decode(),
      object_pairs_hook=_distinct,
      parse_constant=_refuse_constant,
    )
  except DamagedError:
    raise
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'its header is no JSON ({error}).') from None
  return header


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Refuses two values of one name, of which readers would take different."""
  found = dict(pairs)
  require(len(found) == len(pairs), 'its header repeats a key.')
  return found


def _refuse_constant(name: str) -> None:
  raise DamagedError(f'its header holds {name}, which is no JSON.')


def check_fields(
  header: Any, fields: dict[str, tuple[Any, str]], what: str = 'its header'
) -> None:
  """Raises if a header's fields are not those, of those types.

  Args:
    header: what JSON has given, anything.
    fields: by name, the types and what to call them in a message.
    what: what to call the header.
  """
  check_keys(what, header, set(fields))
  for name, (kinds, words) in fields.items():
    # A bool is an int to Python.
    fits = isinstance(header[name], kinds) and header[name] is not True
    fits = fits and header[name] is not False
    require(fits, f'its {name} must be {words}, but is another thing.')


def check_keys(what: str, thing: Any, keys: set[str]) -> None:
  """Raises if something is no object with just these keys."""
  fits = isinstance(thing, dict) and thing.keys() == keys
  require(fits, f'{what} must have the keys {sorted(keys)}, and no other.')


def require(condition: bool, otherwise: str) -> None:
  """Raises a `DamagedError` unless a condition holds."""
  if not condition:
    raise DamagedError(otherwise)
