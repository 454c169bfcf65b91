"""JSON files that say when they are not what was written."""

import hashlib
import json
import pathlib
from typing import Any

from tf_unilth.files import checksummed_file
from tf_unilth.files.checksummed_file import DamagedError

_SEAL = 'sha256'


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes a JSON object with its own SHA-256, whole or not at all.

  Others read it as the JSON that it is: the digest is one more key.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  plain = json.loads(json.dumps(content))
  sealed = {**plain, _SEAL: _digest(plain)}
  checksummed_file.write(path, [json.dumps(sealed, indent=1).encode(), b'\n'])


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns what `write` wrote.

  Raises:
    DamagedError: it is not there, not all of it, or was altered.
  """
  try:
    content = json.loads(path.read_bytes())
  except FileNotFoundError:
    raise DamagedError('it is not there.') from None
  except (ValueError, RecursionError) as error:
    raise DamagedError(f'it is no JSON ({error}).') from None
  checksummed_file.require(isinstance(content, dict), 'it holds no object.')
  digest = content.pop(_SEAL, None)
  checksummed_file.require(
    digest == _digest(content),
    'its SHA-256 is not that of its content: it was altered.',
  )
  return content


def _digest(content: dict[str, Any]) -> str:
  return hashlib.sha256(
    json.dumps(content, sort_keys=True).encode()
  ).hexdigest()
