"""Random damage to files: to their bytes, and in the sense of their format."""

import copy
import gzip
import hashlib
import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any

from tests.testing import forged_files

_MAX_BYTES = 1 << 16
# Values that readers may believe.
_VALUES: tuple[Any, ...] = (
  *(None, True, False, 0, -1, 1, 2, 3, 7, 1 << 31, 1 << 63, 1 << 64, 10**30),
  *(0.5, -0.5, 1e308, float('nan'), float('inf'), '', '..', '../../../x'),
  *('/dev/zero', 'a/b', '\0', '\ud800', 'A' * 300, 'F32', 'BF16', 'object'),
  *([], {}, [[]], [0], [1 << 40, 1 << 40], [0, 1 << 62], [1] * 40, {'a': 1}),
  *('COMPLETED', '0', '1', 'Fixed', 'eval', '__import__', '-1', '1e400'),
)
# Parts of formats, of attacks, and of numbers of other widths.
_TOKENS = (
  *(b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'..', b'/', b'../'),
  *(
    b'\x80\x04',
    b'cos\nsystem\n',
    b'c__builtin__\neval\n',
    b'R.',
    b'\x93',
    b'b',
  ),
  *(
    b'r\xff\xff\xff\x7f',
    b'numpy\nndarray\n',
    b'(lp0\n',
    b'a',
    b'}',
    b'{',
    b'"',
  ),
  *(b'{"a":1,', b'NaN', b'Infinity', b'[' * 2000, b'9' * 5000, b'\\ud800'),
  *(
    b"'|O'",
    b'(1073741824, 1073741824)',
    b"'<U99999999'",
    b'True',
    b'\n',
    b',',
  ),
)
_SIGN = '\x1b[DEEP]'  # Replaced by what JSON's writer would not write.


def mutate(
  content: bytes, structure: str, draw: random.Random, other: bytes = b''
) -> bytes:
  """Returns a damaged file.

  Args:
    content: of a file, damaged or not.
    structure: as in `file_formats.Format`.
    draw: what is random comes from it.
    other: of another file, of which parts may be inserted.
  """
  try:
    if structure and draw.random() < 0.6:
      content = _STRUCTURES[structure](content, draw)
    else:
      content = _bytes(content, draw, other)
  # What is already damaged may have no structure: errors of many classes.
  except Exception:
    content = _bytes(content, draw, other)
  return content[:_MAX_BYTES]


def _bytes(content: bytes, draw: random.Random, other: bytes) -> bytes:
  data = bytearray(content)
  for _ in range(draw.choice((1, 1, 2, 4, 16))):
    place, size = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 8, 64))
    match draw.randrange(8):
      case 0 if place < len(data):
        data[place] ^= 1 << draw.randrange(8)
      case 1 if place < len(data):
        data[place] = draw.randrange(256)
      case 2:
        del data[place : place + size]
      case 3:
        data[place:place] = draw.randbytes(size)
      case 4:
        data[place:place] = draw.choice(_TOKENS)
      case 5:
        data[place : place + size] = _integer(draw, size)
      case 6:
        begin = draw.randrange(len(other) + 1)
        data[place:place] = other[begin : begin + size]
      case _ if draw.random() < 0.2:
        del data[place:]
  return bytes(data)


def _integer(draw: random.Random, size: int) -> bytes:
  size = min(size, 8)
  value = draw.choice((0, 1, 7, 255, 1 << 15, 1 << 31, (1 << 62) + 1))
  order = draw.choice(('little', 'big'))
  return (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _places(value: Any) -> list[tuple[Any, Any]]:
  """Returns each dict or list in a value, with each of its keys."""
  found, left = [], [value]
  while left:
    node = left.pop()
    keys = range(len(node)) if isinstance(node, list) else list(node)
    for key in keys:
      found.append((node, key))
      if isinstance(node[key], dict | list):
        left.append(node[key])
  return found


def edit_json(value: Any, draw: random.Random) -> Any:
  """Returns a JSON value with some of its parts changed."""
  value = copy.deepcopy(value)
  for _ in range(draw.choice((1, 1, 2, 3))):
    places = _places(value) if isinstance(value, dict | list) else []
    if not places:
      return draw.choice(_VALUES)
    (node, key), (source, name) = draw.choice(places), draw.choice(places)
    match draw.randrange(6):
      case 0:
        del node[key]
      case 1 if isinstance(node, dict):
        node[str(draw.choice(_VALUES))] = node.pop(key)
      case 2:
        node[key] = copy.deepcopy(source[name])
      case 3 if draw.random() < 0.1:
        node[key] = _SIGN
      case _:
        node[key] = copy.deepcopy(draw.choice(_VALUES))
  return value


def _dump(value: Any, draw: random.Random) -> bytes:
  text = json.dumps(value, separators=(',', ':'))
  deep = draw.choice((50, 900, 5000))
  text = text.replace(json.dumps(_SIGN), '[' * deep + ']' * deep)
  if draw.random() < 0.05:  # A key twice.
    text = text.replace('{"', '{"a":1,"a":2,"', draw.randrange(1, 3))
  return text.encode()


def _json(content: bytes, draw: random.Random) -> bytes:
  return _dump(edit_json(json.loads(content), draw), draw)


def _sealed(content: bytes, draw: random.Random) -> bytes:
  value = json.loads(content)
  value.pop('sha256', None)
  value = edit_json(value, draw)
  text = _dump(value, draw)
  if not isinstance(value, dict):
    return text
  plain = json.loads(text)
  digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
  return text[:-1] + b',"sha256":"%s"}' % digest.hexdigest().encode()


def _container(content: bytes, draw: random.Random) -> bytes:
  if content[:8] == b'\x89TKT\r\n\x1a\n':
    return _old_ticket(content, draw)
  header, payload = forged_files.split(content)
  metadata = header['__metadata__']
  if draw.random() < 0.5:
    description = edit_json(json.loads(metadata['description']), draw)
    metadata['description'] = _dump(description, draw).decode()
  elif draw.random() < 0.8:
    arrays = {n: e for n, e in header.items() if n != '__metadata__'}
    edited = edit_json(arrays, draw)
    if isinstance(edited, dict):
      header = {'__metadata__': metadata, **edited}
  else:
    payload = _bytes(payload, draw, b'')
  metadata['sha256'] = '0' * 64
  metadata = {'sha256': '0' * 64, **metadata}
  # Only the arrays' part may be changed as text: the file must begin as ours.
  text = json.dumps({'__metadata__': metadata}, separators=(',', ':'))[:-1]
  rest = {n: e for n, e in header.items() if n != '__metadata__'}
  more = _dump(rest, draw).decode()[1:]
  text += (',' if rest else '') + more
  return forged_files.container(text.encode(), payload)


def _old_ticket(content: bytes, draw: random.Random) -> bytes:
  magic, version, length, _ = struct.unpack_from('<8sIIQ', content)
  begin = struct.calcsize('<8sIIQ')
  header = content[begin : begin + length]
  payload = content[begin + length : -32]
  if draw.random() < 0.8:
    header = _json(header, draw)
  else:
    payload = _bytes(payload, draw, b'')
  size = begin + len(header) + len(payload) + 32
  body = struct.pack('<8sIIQ', magic, version, len(header), size)
  body += header + payload
  return body + hashlib.sha256(body).digest()


def _gzip(content: bytes, draw: random.Random) -> bytes:
  if content[:2] != b'\x1f\x8b':
    return _bytes(content, draw, b'')
  plain = zlib.decompressobj(31).decompress(content, _MAX_BYTES)
  plain = _bytes(plain, draw, b'')
  if draw.random() < 0.05:
    plain += bytes(draw.choice((1 << 12, 1 << 20, 1 << 24)))
  return gzip.compress(plain, draw.choice((1, 9)), mtime=0)


def _zip(content: bytes, draw: random.Random) -> bytes:
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    sizes = [info.file_size for info in archive.infolist()]
    if sum(sizes) > 4 * _MAX_BYTES:
      return _bytes(content, draw, b'')
    members = {name: archive.read(name) for name in archive.namelist()}
  name = draw.choice(list(members))
  members[name] = _bytes(members[name], draw, b'')
  if draw.random() < 0.1:
    members[name] += bytes(draw.choice((1 << 12, 1 << 20, 1 << 24)))
  if draw.random() < 0.1:
    members[draw.choice(('../../x.npy', '/x.npy', name + 'x'))] = members.pop(
      name
    )
  file = io.BytesIO()
  kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
  with zipfile.ZipFile(file, 'w', kind) as archive:
    for name, member in members.items():
      archive.writestr(name, member)
  return file.getvalue()


_STRUCTURES = {
  'container': _container,
  'gzip': _gzip,
  'json': _json,
  'sealed': _sealed,
  'zip': _zip,
}
