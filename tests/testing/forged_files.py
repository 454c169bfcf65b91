"""Files whose lengths and digests are right, whatever else they say."""

import hashlib
import json
from typing import Any

BEGIN = b'{"__metadata__":{"sha256":"'
DIGEST = slice(8 + len(BEGIN), 8 + len(BEGIN) + 64)


def resign(data: bytes) -> bytes:
  """Returns a file of an array container with the digest of its content."""
  text = bytearray(data)
  text[DIGEST] = b'0' * 64
  text[DIGEST] = hashlib.sha256(text).hexdigest().encode()
  return bytes(text)


def container(
  header: Any, payload: bytes = b'', length: int | None = None
) -> bytes:
  """Returns a file with a header and a payload, signed.

  Args:
    header: JSON's value with `__metadata__` first, and its `sha256` first in
      that; or bytes.
    payload: the bytes of the arrays.
    length: what the file says of its header, if that is not the truth.
  """
  if not isinstance(header, bytes):
    header = json.dumps(header, separators=(',', ':')).encode()
  length = len(header) if length is None else length
  return resign(length.to_bytes(8, 'little') + header + payload)


def metadata(noun: str, description: Any, **fields: Any) -> dict[str, Any]:
  """Returns the `__metadata__` of a container."""
  if not isinstance(description, str):
    description = json.dumps(description)
  return {
    'sha256': '0' * 64,
    'format': f'tf_unilth {noun}',
    'version': '2',
    'description': description,
    **fields,
  }


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
  """Returns the header and the payload of a container."""
  end = 8 + int.from_bytes(data[:8], 'little')
  return json.loads(data[8:end]), data[end:]
