"""Binary files with a checksum, written atomically.

A file has this layout; all integers are little-endian:

    8 bytes    magic
    uint32     version of the format
    uint32     length of the header
    uint64     length of the file
    header     JSON
    payload    the bytes that the header describes
    32 bytes   SHA-256 of all bytes above

Reading executes and imports nothing from a file. Each length that a file states
is compared with the actual length before memory is allocated.
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
# Parsing JSON takes a multiple of its length in memory. This limit suffices for
# 100,000 weights.
_MAX_HEADER_BYTES = 1 << 24


class DamagedError(ValueError):
  """A file is incomplete, altered or of another format."""


@dataclasses.dataclass(frozen=True)
class Format:
  """A file format.

  Args:
    noun: the name of such a file in messages.
    magic: the first 8 bytes of a file. As in PNG, they contain line ends, which
      a transfer in text mode would change.
    version: the format version to write, and the only one that is read.
  """

  noun: str
  magic: bytes
  version: int

  def size(self, header: bytes, payload: int) -> int:
    """Returns the length of a file in bytes.

    Args:
      header: the JSON header.
      payload: the length of the payload in bytes.
    """
    return _PREFIX.size + len(header) + payload + _DIGEST

  def chunks(
    self, header: bytes, payload: Iterable[Any], length: int
  ) -> Iterator[bytes]:
    """Yields the bytes of a file.

    Args:
      header: the JSON header, from `dump`.
      payload: the parts of the payload, as bytes.
      length: the total length of the payload in bytes.

    Raises:
      ValueError: the header is too long.
    """
    if len(header) > _MAX_HEADER_BYTES:
      raise ValueError(
        f'the header of a {self.noun} must have at most {_MAX_HEADER_BYTES} '
        f'bytes, but has {len(header)}.'
      )
    digest = hashlib.sha256()
    size = self.size(header, length)
    prefix = _PREFIX.pack(self.magic, self.version, len(header), size)
    for chunk in (prefix, header, *payload):
      digest.update(chunk)
      yield chunk
    yield digest.digest()

  def read(self, path: str | os.PathLike[str]) -> tuple[dict, memoryview]:
    """Returns the header and the payload of a file, after verifying it.

    Args:
      path: the path of the file.

    Raises:
      DamagedError: the file is incomplete, altered or of another format.
      OSError: the file cannot be read.
    """
    data = self._read_bytes(path)
    body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
    require(
      hashlib.sha256(body).digest() == digest,
      'its SHA-256 does not match its content: it was altered.',
    )
    end = _PREFIX.size + _PREFIX.unpack_from(body)[2]
    return _parse(bytes(body[_PREFIX.size : end])), body[end:]

  def _read_bytes(self, path: str | os.PathLike[str]) -> bytes:
    """Returns the bytes of a file whose prefix is valid."""
    # Checked before `open`, which blocks on a pipe. A device has no end.
    require(stat.S_ISREG(os.stat(path).st_mode), 'it is not a regular file.')
    with open(path, 'rb') as file:
      length = os.fstat(file.fileno()).st_size
      prefix = file.read(_PREFIX.size)
      self._check_prefix(prefix, length)
      file.seek(0)
      data = file.read(length)
    require(len(data) == length, 'it changed while it was read.')
    return data

  def _check_prefix(self, prefix: bytes, length: int) -> None:
    least = _PREFIX.size + _DIGEST
    require(length >= least, f'it has {length} bytes, which is too short.')
    magic, version, header, written = _PREFIX.unpack(prefix)
    require(
      magic == self.magic,
      f'it does not begin with the magic bytes of a {self.noun}.',
    )
    require(
      version == self.version,
      f'it has format version {version}, but this tf_unilth reads version '
      f'{self.version}.',
    )
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


def dump(header: Any) -> bytes:
  """Returns a header as JSON bytes, the same bytes for equal headers.

  Args:
    header: any value that is serializable as JSON, without NaN and infinities.
  """
  return json.dumps(
    header, allow_nan=False, sort_keys=True, separators=(',', ':')
  ).encode()


def write(path: pathlib.Path, chunks: Iterable[bytes]) -> None:
  """Writes a file atomically: to a temporary file, which is then renamed.

  If the write is interrupted, `path` has its old content or all of the new.

  Args:
    path: the path of the file, in an existing directory.
    chunks: the content, in parts.

  Raises:
    OSError: `path` cannot be written.
  """
  temporary = path.with_name(f'.{path.name}-{uuid.uuid4().hex}')
  try:
    with open(temporary, 'xb') as file:
      for chunk in chunks:
        file.write(chunk)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  _flush_directory(path.parent)


def remove_unfinished(directory: pathlib.Path) -> None:
  """Removes temporary files that killed processes left in a directory."""
  for path in directory.glob(f'.*-{"[0-9a-f]" * 32}'):
    path.unlink(missing_ok=True)


def _flush_directory(directory: pathlib.Path) -> None:
  """Makes a rename survive a power failure, if the system supports it."""
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
      object_pairs_hook=_unique_keys,
      parse_constant=_reject_constant,
    )
  except DamagedError:
    raise
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'its header is not valid JSON ({error}).') from None
  return header


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Rejects repeated keys, for which JSON readers differ in the value."""
  found = dict(pairs)
  require(len(found) == len(pairs), 'its header repeats a key.')
  return found


def _reject_constant(name: str) -> None:
  raise DamagedError(f'its header contains {name}, which is not valid JSON.')


def check_fields(
  header: Any, fields: dict[str, tuple[Any, str]], what: str = 'its header'
) -> None:
  """Raises an error unless a header has the given fields with their types.

  Args:
    header: any value, as `json.loads` returned it.
    fields: for each field's name, its types and their name in messages.
    what: the name of the header in messages.

  Raises:
    DamagedError: a field is missing, unknown or of another type.
  """
  check_keys(what, header, set(fields))
  for name, (types, words) in fields.items():
    # `bool` is a subclass of `int`.
    fits = isinstance(header[name], types) and header[name] is not True
    fits = fits and header[name] is not False
    require(fits, f'its {name} must be {words}, but has another type.')


def check_keys(what: str, value: Any, keys: set[str]) -> None:
  """Raises an error unless a value is a dict with exactly the given keys.

  Args:
    what: the name of the value in messages.
    value: any value, as `json.loads` returned it.
    keys: the required keys.

  Raises:
    DamagedError: the value is not a dict, or has other keys.
  """
  fits = isinstance(value, dict) and value.keys() == keys
  require(fits, f'{what} must have the keys {sorted(keys)} and no others.')


def require(condition: bool, message: str) -> None:
  """Raises `DamagedError(message)` unless the condition is true."""
  if not condition:
    raise DamagedError(message)
