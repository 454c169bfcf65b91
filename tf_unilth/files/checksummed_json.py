"""JSON files with a checksum, written atomically."""

import hashlib
import json
import pathlib
from typing import Any

from tf_unilth.files import (
  checksummed_file,
  format_version,
  synchronization,
)
from tf_unilth.files.checksummed_file import DamagedError

_DIGEST_KEY = 'sha256'
_VERSION = 1  # Files of 0.1.0 do not state it.


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes a JSON object with its version and SHA-256, atomically.

  They are stored under two more keys, so any JSON reader reads the file.

  Args:
    path: the path of the file; missing parent directories are created.
    content: a dict that is serializable as JSON, without the keys
      `format_version` and `sha256`.
  """
  synchronization.make_folder(path.parent)
  plain = json.loads(json.dumps({**content, format_version.KEY: _VERSION}))
  signed = {**plain, _DIGEST_KEY: _digest(plain)}
  checksummed_file.write(path, [json.dumps(signed, indent=1).encode(), b'\n'])


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the content of a file that `write` wrote.

  Args:
    path: the path of the file.

  Raises:
    DamagedError: the file is missing, incomplete or altered.
    VersionError: the file is intact, but of a newer version.
  """
  try:
    with checksummed_file.open_regular(path) as file:
      content = json.loads(file.read())
  except FileNotFoundError:
    raise DamagedError('it does not exist.') from None
  except DamagedError:
    raise
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'it is not valid JSON ({error}).') from None
  checksummed_file.require(
    not checksummed_file.is_too_deep(content),
    f'its JSON is {checksummed_file.TOO_DEEP}.',
  )
  checksummed_file.require(
    isinstance(content, dict), 'it is not a JSON object.'
  )
  digest = content.pop(_DIGEST_KEY, None)
  checksummed_file.require(
    digest == _digest(content),
    'its SHA-256 does not match its content: it was altered.',
  )
  format_version.check(content.pop(format_version.KEY, _VERSION), _VERSION)
  return content


def _digest(content: dict[str, Any]) -> str:
  return hashlib.sha256(
    json.dumps(content, sort_keys=True).encode()
  ).hexdigest()
