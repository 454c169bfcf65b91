"""Files made to harm: what reads them must refuse, and do nothing else."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.testing import forged_files

_MEGABYTE = 1 << 20


class Attack(NamedTuple):
  """A hostile file.

  Args:
    name: what it tries.
    form: a key of `file_formats.FORMATS`.
    file: the name of the file that it takes the place of.
    content: of the file.
    accepted: whether it may be read, since it does no harm.
  """

  name: str
  form: str
  file: str
  content: bytes
  accepted: bool = False


def attacks() -> Iterator[Attack]:
  """Yields all attacks, the same each time."""
  yield from _containers()
  yield from _json_files()
  yield from _searches()
  yield from _npz_files()
  yield from _idx_files()
  yield from _pickles()
  yield from _images()


def _entry(dtype: str, shape: list[int], *offsets: int) -> dict[str, Any]:
  return {'dtype': dtype, 'shape': shape, 'data_offsets': [*offsets]}


def _containers() -> Iterator[Attack]:
  empty = {'method': None, 'seed': None, 'provenance': {}}
  one = {'mask_shapes': {'a': [2]}, **empty}
  bits = {'masks/a': _entry('U8', [1], 0, 1)}

  def ticket(name: str, arrays: Any, description: Any = one, **more: Any):
    header = {
      '__metadata__': forged_files.metadata('ticket', description),
      **arrays,
    }
    content = forged_files.container(header, b'\x80', **more)
    return Attack(name, 'ticket', 'a.ticket', content)

  yield ticket('header longer than the file', bits, length=1 << 20)
  yield ticket('length of the header overflows', bits, length=(1 << 63) + 9)
  yield ticket('offset overflows', {'masks/a': _entry('U8', [1], 0, 1 << 62)})
  yield ticket('negative offset', {'masks/a': _entry('U8', [1], -1, 0)})
  yield ticket(
    *('arrays overlap', {**bits, 'masks/b': _entry('U8', [1], 0, 1)}),
    {'mask_shapes': {'a': [2], 'b': [2]}, **empty},
  )
  huge = {'mask_shapes': {'a': [1 << 40, 1 << 40]}, **empty}
  yield ticket('huge shape of a mask', bits, huge)
  yield ticket('huge array', {'masks/a': _entry('U8', [1 << 62], 0, 1)})
  empty_axis = _entry('U8', [0, 1 << 40, 1 << 40], 0, 0)
  header = {'__metadata__': forged_files.metadata('ticket', one)}
  header |= {**bits, 'rewind_weights/w': empty_axis}
  content = forged_files.container(header, b'\x80')
  yield Attack('empty and too long', 'ticket', 'a.ticket', content)
  yield ticket('NaN', bits, '{"mask_shapes":NaN}')
  yield ticket('deep JSON', bits, '[' * 100_000)
  yield ticket('key twice', bits, '{"seed":1,"seed":2}')
  yield ticket('long number', bits, '{"seed":' + '9' * 100_000 + '}')
  outside = ticket(
    *('path as a name', {'masks/../../x': _entry('U8', [1], 0, 1)}),
    {'mask_shapes': {'../../x': [2]}, **empty},
  )
  yield outside._replace(accepted=True)
  yield Attack('pickle', 'ticket', 'a.ticket', _program())
  header = {'__metadata__': forged_files.metadata('checkpoint', '[' * 100_000)}
  yield Attack(
    *('deep JSON', 'checkpoint', 'epoch-000004-step-000000000.checkpoint'),
    forged_files.container(header),
  )
  # Python parses it, but a function that calls itself gets no further.
  for mark in ('items', 'tuple'):
    yield _deep_checkpoint(mark)


def _deep_checkpoint(mark: str) -> Attack:
  values: Any = {'items': []}
  for _ in range(300):
    values = {mark: [['a', values]] if mark == 'items' else [values]}
  fields = {'epoch': 4, 'step': 0, 'first_epoch': 0, 'finished': 0}
  description = {**fields, 'run': {'version': 2}, 'values': values}
  text = json.dumps(description)
  header = {'__metadata__': forged_files.metadata('checkpoint', text)}
  return Attack(
    *(f'deep {mark}', 'checkpoint', 'epoch-000004-step-000000000.checkpoint'),
    forged_files.container(header),
  )


def _sealed(content: dict[str, Any]) -> bytes:
  digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
  return json.dumps({**content, 'sha256': digest.hexdigest()}).encode()


def _searches() -> Iterator[Attack]:
  space = {'space': [], 'values': {}}
  state = {
    **{'hyperparameters': space, 'values': {}, 'ongoing_trials': {}},
    **{'start_order': [], 'end_order': [], 'retry_queue': [], 'run_times': {}},
    **{'tried_so_far': [], 'id_to_hash': {}, 'seed': 1, 'seed_state': 1},
    'display': {'search_start': None, 'trial_start': {}, 'trial_number': {}},
  }

  def search(name: str, is_fine: bool = False, **changed: Any) -> Attack:
    content = _sealed({**state, **changed})
    return Attack(
      f'oracle.json: {name}', 'search', 'oracle.json', content, is_fine
    )

  yield search('an empty search', is_fine=True)
  outside = '../../outside'
  yield search('path as a trial', start_order=[outside], values={outside: {}})
  layer = {'class_name': 'Lambda', 'config': {'function': 'x'}}
  yield search('another class', hyperparameters={**space, 'space': [layer]})
  yield search('no seed', seed='1')
  yield search('trial twice', start_order=['1', '1'], values={'1': {}})
  wrong = {'class_name': 'Float', 'config': {'name': 'a', 'min_value': 'b'}}
  yield search('a wrong range', hyperparameters={**space, 'space': [wrong]})


def _json_files() -> Iterator[Attack]:
  deep = b'[' * 100_000
  for form, name in (
    *(('run', f) for f in ('config.json', 'results.json', 'progress.json')),
    *(('search', f) for f in ('search.json', 'oracle.json')),
  ):
    yield Attack(f'{name}: deep JSON', form, name, deep)
    yield Attack(f'{name}: no object', form, name, b'[1]')
    yield Attack(f'{name}: no text', form, name, b'\xff\xfe\x00')
    yield Attack(f'{name}: a pickle', form, name, _program())
  yield Attack(
    'lock-owner.json: deep JSON', 'run', 'lock-owner.json', deep, accepted=True
  )
  row = b'epoch,loss\n1,' + b'1' * 200_000 + b'\n'
  yield Attack('history.csv: long cell', 'run', 'history.csv', row)
  yield Attack('history.csv: NUL', 'run', 'history.csv', b'epoch,loss\n1,\0\n')
  results = json.dumps({'epochs': 'many'}).encode()
  yield Attack('results.json: words', 'run', 'results.json', results, True)


def _npy(shape: tuple[int, ...], values: bytes, descr: str = "'|u1'") -> bytes:
  text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
  header = text.encode().ljust(117) + b'\n'
  return b'\x93NUMPY\x01\0' + struct.pack('<H', len(header)) + header + values


def _archive(kind: int, **members: bytes) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', kind) as archive:
    for name, member in members.items():
      archive.writestr(f'{name}.npy', member)
  return file.getvalue()


def _npz_files() -> Iterator[Attack]:
  fine = {
    **dict.fromkeys(('x_train', 'x_test'), _npy((2, 4, 4), bytes(32))),
    **dict.fromkeys(('y_train', 'y_test'), _npy((2,), bytes(2))),
  }
  stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED

  def npz(name: str, kind: int = stored, **changed: bytes) -> Attack:
    return Attack(name, 'npz', 'a.npz', _archive(kind, **{**fine, **changed}))

  bomb = _npy((64 * _MEGABYTE,), bytes(64 * _MEGABYTE))
  yield npz('zip bomb', deflated, x_train=bomb)
  yield npz('huge shape', x_train=_npy((1 << 34,), b'1'))
  yield npz('huge letters', x_train=_npy((1,), b'1', "'<U999999999'"))
  yield npz('objects', x_train=_npy((1,), _program(), "'|O'"))
  yield npz(
    'a program as a header', x_train=_npy((1,), b'', '__import__("os")')
  )
  yield npz('NaN', x_train=_npy((2, 4, 4), b'\xff' * 128, "'<f4'"))
  whole = _archive(stored, **fine)
  yield Attack('truncated', 'npz', 'a.npz', whole[: len(whole) // 2])
  # The directory of the archive says that a member has 4 GB.
  place = whole.rindex(b'PK\x01\x02') + 24
  claimed = whole[:place] + struct.pack('<I', 1 << 31) + whole[place + 4 :]
  yield Attack('size in the directory', 'npz', 'a.npz', claimed)


def _idx_files() -> Iterator[Attack]:
  head = struct.pack('>BBBB', 0, 0, 8, 3)
  many = head + struct.pack('>III', 1 << 31, 1 << 31, 1 << 31)
  yield Attack('huge shape', 'idx', 'a', many + b'1')
  yield Attack('huge shape', 'idx', 'b.gz', gzip.compress(many + b'1'))
  side = 64 * _MEGABYTE
  bomb = head + struct.pack('>III', side, 1, 1) + bytes(side)
  yield Attack('zip bomb', 'idx', 'b.gz', gzip.compress(bomb))
  yield Attack('many axes', 'idx', 'a', b'\0\0\x08\xff' + bytes(8))
  ones = b'\0\0\x08\xff' + struct.pack('>I', 1) * 255 + b'1'
  yield Attack('axes of one', 'idx', 'a', ones)
  empty = head + struct.pack('>III', 0, 1 << 31, 1 << 31)
  yield Attack('empty and too long', 'idx', 'a', empty)
  yield Attack('truncated', 'idx', 'b.gz', gzip.compress(many)[:-9])


def _program() -> bytes:
  """Returns a pickle that runs a command."""
  return b"cos\nsystem\n(S'touch attacked'\ntR."


def _pickles() -> Iterator[Attack]:
  def pickled(name: str, content: bytes) -> Attack:
    return Attack(name, 'cifar', 'pickle2', content)

  yield pickled('a command', _program())
  yield pickled('eval', b"c__builtin__\neval\n(S'1+1'\ntR.")
  yield pickled('an attribute', b"cnumpy\nndarray.tofile\n(S'x'\ntR.")
  yield pickled('huge index', b'\x80\x02Nr\xff\xff\xff\x7f.')
  yield pickled(
    'huge text', b'\x80\x04\x8d' + struct.pack('<Q', 1 << 40) + b'.'
  )
  yield pickled('deep lists', b'\x80\x02' + b']' * 9000 + b'a' * 8999 + b'.')
  laughs = b'\x80\x02]q\x00(K\x01K\x02e'
  for number in range(40):
    laughs += b'0]q%c(h%ch%ce' % (number + 1, number, number)
  yield pickled('lists of lists', laughs + b'.')
  array = pickle.dumps({b'data': np.zeros(4, np.uint8), b'labels': [1]}, 2)
  yield pickled('huge array', array.replace(b'K\x04\x85', b'J\0\0\0\x7f\x85'))


def _png(width: int, height: int, rows: bytes) -> bytes:
  def chunk(kind: bytes, data: bytes) -> bytes:
    crc = struct.pack('>I', zlib.crc32(kind + data))
    return struct.pack('>I', len(data)) + kind + data + crc

  head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  data = zlib.compress(rows)
  start = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
  return start + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def _images() -> Iterator[Attack]:
  yield Attack('huge size', 'images', 'a.png', _png(30_000, 30_000, b'\0'))
  yield Attack('endless size', 'images', 'a.png', _png(1 << 30, 1 << 30, b''))
  gif = b'GIF89a' + struct.pack('<HHBBB', 65535, 65535, 0, 0, 0)
  image = b',' + struct.pack('<HHHHB', 0, 0, 65535, 65535, 0) + b'\x02\x01D\0;'
  yield Attack('huge size', 'images', 'a.gif', gif + image)
  bmp = b'BM' + bytes(12) + b'\x36\0\0\0' + struct.pack('<ii', 30_000, 30_000)
  yield Attack('huge size', 'images', 'a.bmp', bmp.ljust(80, b'\1'))
  yield Attack('truncated', 'images', 'a.jpeg', b'\xff\xd8\xff\xe0' + bytes(20))
