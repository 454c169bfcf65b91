"""A ticket's file: bit for bit, whole or not at all, and trusted in nothing."""

import dataclasses
import errno
import hashlib
import json
import os
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import tf_unilth
from tests.testing import forged_files
from tf_unilth.files import array_container
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.ticket_data import TicketData

Error = tf_unilth.TicketFileError


def _ticket(**fields):
  rng = np.random.default_rng(0)
  masks = {
    'conv': rng.random((3, 3, 1, 4)) < 0.3,
    'head': rng.random((5, 3)) < 0.3,
  }
  weights = {
    'conv/kernel': rng.normal(size=(3, 3, 1, 4)).astype(np.float32),
    'odd': np.float32([-0.0, np.inf, np.nan, 1e-45]),
    'count': np.array(7, np.int64),
    'low': np.array([1.1, -2.2], ml_dtypes.bfloat16),
    'half': np.float16([0.1]),
    'flags': np.array([True, False]),
    **{
      f'integers/{name}': np.array([np.iinfo(name).max, 1], name)
      for name in ('int8', 'int16', 'int32', 'uint8', 'uint16', 'uint32')
    },
    'integers/uint64': np.array(1 << 63, np.uint64),
    'double': np.array([[1 / 3]]),
  }
  fields = {
    'rewind_weights': weights,
    'method': 'UniDLTH',
    'seed': 3,
    'provenance': {'data': 'digits', 'where': ['é', 1.5, None]},
    **fields,
  }
  return tf_unilth.Ticket(masks, **fields)


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'a.ticket'


@pytest.fixture
def whole(path):
  _ticket().save(path)
  return path.read_bytes()


def _assert_same(one, other):
  for mine, theirs in (
    (one.masks, other.masks),
    (one.rewind_weights or {}, other.rewind_weights or {}),
  ):
    assert list(mine) == list(theirs)
    for name, array in mine.items():
      assert array.dtype == theirs[name].dtype
      assert array.shape == theirs[name].shape
      assert array.tobytes() == theirs[name].tobytes()
  for name in ('method', 'seed', 'provenance'):
    assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(
  'fields', [{}, {'rewind_weights': None}, {'seed': None, 'method': None}]
)
def test_every_bit_comes_back(path, fields):
  ticket = _ticket(**fields)
  ticket.save(path)
  _assert_same(tf_unilth.Ticket.load(path), ticket)
  assert f'{path.stat().st_size:,} bytes' in repr(ticket)


def test_every_dtype_is_among_them():
  weights = _ticket().rewind_weights.values()
  assert {array.dtype.name for array in weights} == {*array_container.DTYPES}


def test_the_format_is_what_its_text_says(whole):
  header, payload = forged_files.split(whole)
  metadata = header.pop('__metadata__')
  assert metadata['format'] == 'tf_unilth ticket' and metadata['version'] == '2'
  zeros = whole.replace(metadata['sha256'].encode(), b'0' * 64)
  assert hashlib.sha256(zeros).hexdigest() == metadata['sha256']
  ticket = _ticket()
  assert json.loads(metadata['description']) == {
    'mask_shapes': {'conv': [3, 3, 1, 4], 'head': [5, 3]},
    'method': ticket.method,
    'seed': ticket.seed,
    'provenance': ticket.provenance,
  }
  names = ['masks/conv', 'masks/head']
  names += [f'rewind_weights/{name}' for name in ticket.rewind_weights]
  assert [*header] == names
  for entry in header.values():  # Aligned, for those who map the file.
    begin, end = entry['data_offsets']
    bits = int(''.join(c for c in entry['dtype'] if c.isdigit()) or 8)
    assert begin % (bits // 8) == 0 and end <= len(payload)
  assert (len(whole) - len(payload)) % 8 == 0


def test_it_opens_in_safetensors(path):
  ticket = _ticket()
  ticket.save(path)
  tensors = safetensors.numpy.load_file(path)
  for name, mask in ticket.masks.items():
    packed = tensors.pop(f'masks/{name}')
    bits = np.unpackbits(packed, count=mask.size)
    np.testing.assert_array_equal(bits.reshape(mask.shape), mask)
  assert len(tensors) == len(ticket.rewind_weights)
  for name, array in ticket.rewind_weights.items():
    found = tensors[f'rewind_weights/{name}']
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
  with safetensors.safe_open(path, 'numpy') as file:
    description = json.loads(file.metadata()['description'])
    assert description['method'] == 'UniDLTH'
    kernel = file.get_tensor('rewind_weights/conv/kernel')
    np.testing.assert_array_equal(kernel, ticket.rewind_weights['conv/kernel'])


def test_the_same_ticket_is_the_same_bytes(whole, path):
  _ticket().save(path, overwrite=True)
  assert path.read_bytes() == whole


def test_an_existing_path_is_kept_unless_told(whole, path):
  with pytest.raises(FileExistsError, match='overwrite=True'):
    _ticket(seed=4).save(path)
  assert path.read_bytes() == whole
  _ticket(seed=4).save(path, overwrite=True)
  assert tf_unilth.Ticket.load(path).seed == 4


@pytest.mark.parametrize('exists', [False, True])
def test_a_save_that_fails_leaves_nothing(path, monkeypatch, exists):
  if exists:
    path.write_bytes(b'precious')

  def full_disk(descriptor):
    raise OSError('no space left on device')

  monkeypatch.setattr(os, 'fsync', full_disk)
  with pytest.raises(OSError, match='no space left'):
    _ticket().save(path, overwrite=True)
  assert os.listdir(path.parent) == (['a.ticket'] if exists else [])
  assert not exists or path.read_bytes() == b'precious'


def test_what_json_cannot_hold_is_refused_before_the_file_is_there(path):
  with pytest.raises(ValueError, match='provenance must be serializable as JS'):
    _ticket(provenance={'model': object()}).save(path)
  weights = {'words': np.array(['a'], object)}
  with pytest.raises(ValueError, match="'words' is of dtype object"):
    _ticket(rewind_weights=weights).save(path)
  weights = {'\ud800': np.ones(2)}
  with pytest.raises(ValueError, match='a name that UTF-8 cannot encode'):
    _ticket(rewind_weights=weights).save(path)
  tickets = _ticket(provenance={'long': 'x' * (1 << 24)})
  with pytest.raises(ValueError, match='header of a ticket must have at most'):
    tickets.save(path)
  assert not os.listdir(path.parent)


# Hostile files.


def _refused(path, data, words=None):
  path.write_bytes(data)
  with pytest.raises(Error, match=words) as raised:
    tf_unilth.Ticket.load(path)
  assert repr(str(path)) in str(raised.value)


def test_every_truncation_is_refused(whole, path):
  for length in range(len(whole)):
    _refused(path, whole[:length], r'too short|truncated')


def test_what_was_added_is_refused(whole, path):
  _refused(path, whole + b'\0', 'something was added')
  _refused(path, whole * 2, 'something was added')


def test_every_flipped_bit_is_refused(whole, path):
  rng = np.random.default_rng(0)
  for place in range(len(whole)):
    data = bytearray(whole)
    data[place] ^= 1 << rng.integers(8)
    _refused(path, bytes(data))


def test_other_white_space_is_refused(whole, path):
  end = 8 + int.from_bytes(whole[:8], 'little')
  data = bytearray(whole)
  for place in range(end - 8, end):
    if data[place] == ord(' '):
      data[place] = ord('\n')
  assert data != whole
  _refused(path, bytes(data), 'SHA-256 does not match')


def test_noise_is_refused(path):
  rng = np.random.default_rng(0)
  for length in range(0, 200, 7):
    _refused(path, rng.bytes(length))
    _refused(path, rng.bytes(8) + forged_files.BEGIN + rng.bytes(length))


def _entry(dtype='U8', shape=(1,), begin=0, end=1, **more):
  offsets = {'data_offsets': [begin, end]}
  return {'dtype': dtype, 'shape': [*shape], **offsets, **more}


def _forged(
  arrays=None, payload=b'\x80', description=None, length=None, **metadata
):
  """Returns a file whose digest is right, whatever it says."""
  if not isinstance(description, str | bytes | list):
    description = {
      'mask_shapes': {'a': [2]},
      'method': None,
      'seed': None,
      'provenance': {},
      **(description or {}),
    }
  metadata = forged_files.metadata('ticket', description, **metadata)
  arrays = {'masks/a': _entry()} if arrays is None else arrays
  header = {'__metadata__': metadata, **arrays}
  return forged_files.container(header, payload, length)


def _weight(name='w', *args, **kwargs):
  entry = _entry(*args, **{'begin': 1, 'end': 2, **kwargs})
  return {'masks/a': _entry(), f'rewind_weights/{name}': entry}


def _mask(*shape):
  return {'mask_shapes': {'a': [*shape]}}


def test_what_is_signed_but_altered_raises_nothing_else(whole, path):
  rng = np.random.default_rng(0)
  outcomes = set()
  for _ in range(600):
    data = bytearray(whole)
    for place in rng.integers(8, len(data), rng.integers(1, 4)):
      data[place] = rng.choice(list(b'0129"[]{},:-.e\\\x00\xff'))
    path.write_bytes(forged_files.resign(data))
    try:
      ticket = tf_unilth.Ticket.load(path)
      assert repr(ticket).isprintable()
      outcomes.add('read')
    except Error:
      outcomes.add('refused')
  assert outcomes == {'read', 'refused'}


def test_a_forged_one_is_read_where_nothing_is_wrong(path):
  path.write_bytes(_forged())
  assert tf_unilth.Ticket.load(path).masks['a'].tolist() == [True, False]
  path.write_bytes(_forged(_weight(), b'\x80\x07'))
  weights = tf_unilth.Ticket.load(path).rewind_weights
  assert weights['w'].tolist() == [7]


@pytest.mark.parametrize(
  ('description', 'words'),
  [
    (_mask(10**12), 'must have 125000000000 bytes'),
    (_mask(*[2**40] * 32), r'must have \d+ bytes'),
    (_mask(10**30), "mask 'a' has an invalid shape"),
    (_mask(0), "mask 'a' has an invalid shape"),
    (_mask(-8, -1), "mask 'a' has an invalid shape"),
    (_mask(2.0), "mask 'a' has an invalid shape"),
    (_mask(True), "mask 'a' has an invalid shape"),
    (_mask('2'), "mask 'a' has an invalid shape"),
    (_mask(*[1] * 33), "mask 'a' has an invalid shape"),
    ({'mask_shapes': {'a': 2}}, "mask 'a' has an invalid shape"),
    ({'mask_shapes': {'b': [2]}}, 'masks are not those it names'),
    ({'mask_shapes': {'a': [2], 'b': [2]}}, 'masks are not those it names'),
    ({'mask_shapes': {}}, 'masks are not those it names'),
    ({'mask_shapes': [2]}, 'mask_shapes must be an object'),
    ({'seed': True}, 'seed must be a whole number'),
    ({'seed': 1.5}, 'seed must be a whole number'),
    ({'seed': -1}, 'seed must be at least 0'),
    ({'method': 5}, 'method must be a string'),
    ({'provenance': []}, 'provenance must be an object'),
    ({'code': 'import os'}, 'its description must have the keys'),
    ([], 'its description is not an object'),
    ('5', 'its description is not an object'),
    ('', 'its header is not valid JSON'),
    ('{', 'its header is not valid JSON'),
    ('[' * 100_000, 'its header is not valid JSON'),
    ('{"a":' * 100_000, 'its header is not valid JSON'),
    ('{"seed": 1, "seed": 2}', 'repeats a key'),
    ('{"seed": NaN}', 'contains NaN'),
    ('9' * 10_000, 'its header'),
  ],
)
def test_a_malicious_description_is_refused(path, description, words):
  _refused(path, _forged(description=description), words)


_A = {'masks/a': _entry()}
_LONGEST = 1 << 24


@pytest.mark.parametrize(
  ('data', 'words'),
  [
    (_forged({}, b''), 'it has no masks'),
    (_forged(_A | {'other': _entry(begin=1, end=2)}, b'\x80a'), "'other'"),
    (_forged({'masks/': _entry()}), "an array is named 'masks/' alone"),
    (_forged(_weight(''), b'\x80a'), "named 'rewind_weights/' alone"),
    (_forged({'masks/a': _entry('I8')}), "mask 'a' of shape"),
    (_forged({'masks/a': _entry(shape=[1, 1])}), "mask 'a' of shape"),
    (_forged({'masks/a': _entry(shape=[])}), "mask 'a' of shape"),
    (_forged({'masks/a': _entry(end=2)}, b'\x80\0'), 'do not fit its header'),
    (_forged({'masks/a': _entry(shape=[2])}), 'do not fit its header'),
    (_forged({'masks/a': _entry(shape=[2**62] * 4)}), 'do not fit its header'),
    (_forged({'masks/a': _entry(shape=[-1])}), 'has an invalid shape'),
    (_forged({'masks/a': _entry(begin=1, end=2)}), 'do not fit its header'),
    (_forged({'masks/a': _entry(end=True)}), 'has invalid offsets'),
    (_forged({'masks/a': _entry(end=2**63)}), 'has invalid offsets'),
    (_forged({'masks/a': _entry(path='/etc/passwd')}), 'must have the keys'),
    (_forged({'masks/a': 5}), 'must have the keys'),
    (_forged(_A | {'masks/b': _entry()}), 'but .* were written'),
    (_forged(_A | {'masks/b': _entry()}, b'\x80\x80'), 'do not fit'),
    (_forged(_weight(dtype='object'), b'\x80a'), 'has an invalid dtype'),
    (_forged(_weight(dtype='V1'), b'\x80a'), 'has an invalid dtype'),
    (_forged(_weight(dtype=['U8']), b'\x80a'), 'has an invalid dtype'),
    (_forged(_weight(dtype='BOOL'), b'\x80\x02'), 'other than 0 and 1'),
    (_forged(_weight(shape=[0], end=1)), "weight 'w' has an invalid shape"),
    (_forged(payload=b''), 'but .* were written'),
    (_forged(payload=b'\x80\0'), 'something was added'),
    (_forged(payload=b'\x81'), "mask 'a' does not end in zeros"),
    (_forged(payload=b'\xc0'), 'must have a zero'),
    (_forged(version='3'), "format version '3', but this"),
    (_forged(version=2), 'version must be a string'),
    (_forged(format='tf_unilth checkpoint'), 'is not a ticket, but a file of'),
    (_forged(code='import os'), 'its __metadata__ must have the keys'),
    (_forged(length=2**64 - 1), 'header claims 18446744073709551615 bytes'),
    (_forged(length=_LONGEST + 1), 'header claims 16777217 bytes'),
    (_forged(length=_LONGEST), 'it is truncated'),
    (_forged(length=5), 'its header is not valid JSON'),
    (forged_files.container(forged_files.BEGIN + b'0' * 99), 'not valid JSON'),
    (
      forged_files.container(
        forged_files.BEGIN + b'0' * 64 + b'"},"__metadata__":{}}'
      ),
      'repeats a key',
    ),
    (safetensors.numpy.save({'a': np.ones(40)}), 'not begin as a ticket does'),
    (b'PK\x03\x04' + bytes(100), 'not begin as a ticket does'),
    (b'\x80\x04\x95' + bytes(100), 'not begin as a ticket does'),
  ],
)
def test_a_malicious_file_is_refused(path, data, words):
  _refused(path, data, words)


def test_names_are_not_paths_and_nothing_is_written(path):
  for name in ['/etc/passwd', '../../x', 'a\0b', '\x1b[2J', 'é', 'C:\\x']:
    description = {'mask_shapes': {name: [2]}, 'method': name}
    path.write_bytes(_forged({f'masks/{name}': _entry()}, b'\x80', description))
    ticket = tf_unilth.Ticket.load(path)
    assert list(ticket.masks) == [name]
    assert repr(ticket).isprintable()
    assert os.listdir(path.parent) == ['a.ticket']
    ticket.save(path, overwrite=True)
    assert list(tf_unilth.Ticket.load(path).masks) == [name]
    assert f'masks/{name}' in safetensors.numpy.load_file(path)


def test_a_claim_takes_no_memory(path):
  for data in (
    _forged(description=_mask(10**12)),
    _forged({'masks/a': _entry(shape=[10**12], end=10**12)}),
    _forged(_weight(shape=[2**20] * 32, end=2**62)),
    _forged({'masks/a': _entry(shape=[10**12])}),
  ):
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(Error):
      tf_unilth.Ticket.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_memory_is_bounded_by_the_files_size(path):
  size = 8_000_000
  mask = np.arange(size) % 10 == 0
  tf_unilth.Ticket({'a': mask}).save(path)
  tracemalloc.start()
  tf_unilth.Ticket.load(path)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 12 * path.stat().st_size


def test_what_is_no_file_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError):
    tf_unilth.Ticket.load(tmp_path / 'none.ticket')
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  for place in (tmp_path, pipe, '/dev/zero'):
    with pytest.raises(Error, match='not a regular file'):
      tf_unilth.Ticket.load(place)


def test_a_file_that_does_not_begin_as_one_is_not_read(path):
  with open(path, 'wb') as file:
    file.truncate(1 << 40)
  with pytest.raises(Error, match='does not begin'):
    ticket_file.read(path)


def test_a_file_that_is_longer_than_it_says_is_not_read(whole, path):
  with open(path, 'r+b') as file:
    file.truncate(1 << 40)
  with pytest.raises(Error, match='something was added'):
    ticket_file.read(path)


@pytest.mark.parametrize('name', ['nowhere', '.', 'file/below'])
def test_a_path_that_cannot_be_read_is_named(name, tmp_path):
  (tmp_path / 'file').write_text('words')
  with pytest.raises((OSError, ValueError), match=r'path .*(read|intact)'):
    tf_unilth.Ticket.load(tmp_path / name)


@pytest.mark.parametrize('place', [None, 7, '', b'a', 'a\0b'])
def test_what_is_no_path_is_refused(place):
  with pytest.raises((TypeError, ValueError), match='path must be a path'):
    tf_unilth.Ticket.load(place)


def test_a_full_disk_is_told_with_the_path(path, monkeypatch):
  def full_disk(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, 'fsync', full_disk)
  with pytest.raises(OSError, match=r'path .*a\.ticket. cannot be written: No'):
    _ticket().save(path)


def test_a_ticket_knows_no_file():
  assert tf_unilth.Ticket.__bases__ == (object,)
  names = [field.name for field in dataclasses.fields(tf_unilth.Ticket)]
  data = [field.name for field in dataclasses.fields(TicketData)]
  assert names == data and [*vars(_ticket())] == names
