"""Damaged and malicious ticket files are refused."""

import dataclasses
import errno
import os
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import tf_unilth
from tests.testing import all_types, forged_files
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.ticket_data import TicketData

Error = tf_unilth.TicketFileError


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'a.ticket'


@pytest.fixture
def whole(path):
  all_types.ticket().save(path)
  return path.read_bytes()


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
    all_types.ticket().save(path)


def test_a_ticket_knows_no_file():
  assert tf_unilth.Ticket.__bases__ == (object,)
  names = [field.name for field in dataclasses.fields(tf_unilth.Ticket)]
  data = [field.name for field in dataclasses.fields(TicketData)]
  assert names == data and [*vars(all_types.ticket())] == names
