"""Atomic writes, and checks of what a file states.

Reading executes and imports nothing from a file.
"""

import json
import os
import pathlib
import stat
import uuid
from collections.abc import Iterable
from typing import Any, BinaryIO

from tf_unilth.files import synchronization

# Lists and objects inside of each other. Those who read a header go through it
# by functions that call themselves, which Python allows a thousand times.
MAX_DEPTH = 200
TOO_DEEP = f'nested more than {MAX_DEPTH} levels deep'


class DamagedError(ValueError):
  """A file is incomplete, altered or of another format."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
  """Opens a file for reading.

  Args:
    path: the path of the file.

  Raises:
    DamagedError: it is a directory, a pipe or a device.
    OSError: it cannot be read.
  """
  # Checked before `open`, which blocks on a pipe. A device has no end.
  is_regular = stat.S_ISREG(os.stat(path).st_mode)
  require(is_regular, 'it is not a regular file, as it must be.')
  return open(path, 'rb')


def begins_with(path: str | os.PathLike[str], magic: bytes) -> bool:
  """Returns whether a file begins with some bytes.

  Args:
    path: the path of the file.
    magic: the bytes.

  Raises:
    DamagedError: it is a directory, a pipe or a device.
    OSError: it cannot be read.
  """
  with open_regular(path) as file:
    return file.read(len(magic)) == magic


def dump(value: Any) -> str:
  """Returns a value as JSON, the same text for equal values.

  Args:
    value: any value that is serializable as JSON, without NaN and infinities.
  """
  return json.dumps(
    value, allow_nan=False, sort_keys=True, separators=(',', ':')
  )


def write(path: pathlib.Path, chunks: Iterable[Any]) -> None:
  """Writes a file atomically: to a temporary file, which is then renamed.

  If the write is interrupted, `path` has its old content or all of the new.
  Once this returns, the new content survives a power cut.

  Args:
    path: the path of the file, in an existing directory.
    chunks: the content, in parts that are bytes or views of them.

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
    synchronization.flush_folder(path.parent)
  except OSError as error:  # That of a write has no file name.
    raise OSError(
      error.errno, error.strerror or str(error), str(path)
    ) from error
  finally:
    temporary.unlink(missing_ok=True)


def remove_unfinished(directory: pathlib.Path) -> None:
  """Removes temporary files that killed processes left in a directory."""
  for path in directory.glob(f'.*-{"[0-9a-f]" * 32}'):
    path.unlink(missing_ok=True)


def parse(text: bytes | str) -> Any:
  """Returns the value of a header in JSON.

  Args:
    text: the header.

  Raises:
    DamagedError: it is not valid JSON, an object repeats a key, or it is nested
      more than `MAX_DEPTH` levels deep.
  """
  try:
    header = json.loads(
      text if isinstance(text, str) else text.decode(),
      object_pairs_hook=_unique_keys,
      parse_constant=_reject_constant,
    )
  except DamagedError:
    raise
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'its header is not valid JSON ({error}).') from None
  require(not is_too_deep(header), f'its header is {TOO_DEEP}.')
  return header


def is_too_deep(value: Any) -> bool:
  """Returns whether a value is nested more than `MAX_DEPTH` levels deep.

  Args:
    value: any value that JSON can hold.
  """
  level = _inside([value])
  for _ in range(MAX_DEPTH):
    level = [item for outer in level for item in _inside(outer)]
  return bool(level)


def _inside(value: Any) -> list[Any]:
  """Returns the lists and objects in a list or object."""
  items = value.values() if isinstance(value, dict) else value
  return [item for item in items if isinstance(item, dict | list | tuple)]


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
