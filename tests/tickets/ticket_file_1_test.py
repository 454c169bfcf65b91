"""The tickets' files of 0.1.0: read bit for bit, and trusted in nothing."""

import hashlib
import json
import os
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

import tf_unilth

Error = tf_unilth.TicketFileError
_MAGIC = b'\x89TKT\r\n\x1a\n'


def _payload():
  """Returns the bytes of two masks and of a weight of each kind."""
  rng = np.random.default_rng(0)
  masks = [rng.random((3, 3, 1, 4)) < 0.3, rng.random((5, 3)) < 0.3]
  weights = [
    rng.normal(size=(3, 3, 1, 4)).astype(np.float32),
    np.float32([-0.0, np.inf, np.nan, 1e-45]),
    np.array(7, np.int64),
    np.array([1.1, -2.2], ml_dtypes.bfloat16),
    np.float16([0.1]),
    np.array([True, False]),
  ]
  return masks, weights


def _whole():
  masks, weights = _payload()
  header = {
    'masks': [{'name': f'm{i}', 'shape': m.shape} for i, m in enumerate(masks)],
    'weights': [
      {'name': f'w{i}', 'shape': w.shape, 'dtype': w.dtype.name}
      for i, w in enumerate(weights)
    ],
    'method': 'UniDLTH',
    'seed': 3,
    'provenance': {'data': 'digits', 'where': ['é', 1.5, None]},
  }
  payload = [np.packbits(m).tobytes() for m in masks]
  payload += [w.tobytes() for w in weights]
  return _forged(header, b''.join(payload))


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'a.ticket'


@pytest.fixture
def whole(path):
  path.write_bytes(_whole())
  return path.read_bytes()


def test_every_bit_comes_back(whole, path):
  ticket = tf_unilth.Ticket.load(path)
  assert (ticket.method, ticket.seed) == ('UniDLTH', 3)
  assert ticket.provenance == {'data': 'digits', 'where': ['é', 1.5, None]}
  masks, weights = _payload()
  for kind, noted, read in (
    ('m', masks, ticket.masks),
    ('w', weights, ticket.rewind_weights),
  ):
    assert [*read] == [f'{kind}{i}' for i in range(len(noted))]
    for array, found in zip(noted, read.values(), strict=True):
      assert (array.dtype, array.shape) == (found.dtype, found.shape)
      assert array.tobytes() == found.tobytes()


def test_what_was_read_is_saved_in_the_present_format(whole, path, tmp_path):
  ticket = tf_unilth.Ticket.load(path)
  ticket.save(tmp_path / 'new')
  again = tf_unilth.Ticket.load(tmp_path / 'new')
  assert again.provenance == ticket.provenance
  for name, array in ticket.rewind_weights.items():
    assert again.rewind_weights[name].tobytes() == array.tobytes()
  assert not (tmp_path / 'new').read_bytes().startswith(_MAGIC)


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
  places = [*range(24), *rng.integers(24, len(whole), 300)]
  for place in places:
    data = bytearray(whole)
    data[place] ^= 1 << rng.integers(8)
    _refused(path, bytes(data))


def test_noise_is_refused(path):
  rng = np.random.default_rng(0)
  for length in range(0, 200, 7):
    _refused(path, rng.bytes(length))
    _refused(path, _MAGIC + rng.bytes(length))


def _forged(header, payload=b'\x80', **prefix):
  """Returns a file whose lengths and digest are right, whatever it says."""
  if not isinstance(header, bytes):
    header = json.dumps(header).encode()
  fields = {
    'magic': _MAGIC,
    'version': 1,
    'claimed': len(header),
    'length': 24 + len(header) + len(payload) + 32,
    **prefix,
  }
  body = struct.pack('<8sIIQ', *fields.values()) + header + payload
  return body + hashlib.sha256(body).digest()


def _header(*, mask=(), **fields):
  return {
    'masks': [{'name': 'a', 'shape': [2], **dict(mask)}],
    'weights': None,
    'method': None,
    'seed': None,
    'provenance': {},
    **fields,
  }


def _weight(**fields):
  return [{'name': 'w', 'shape': [1], 'dtype': 'bool', **fields}]


def test_what_is_signed_but_altered_raises_nothing_else(whole, path):
  rng = np.random.default_rng(0)
  outcomes = set()
  for _ in range(600):
    data = bytearray(whole[:-32])
    for place in rng.integers(8, len(data), rng.integers(1, 4)):
      data[place] = rng.choice(list(b'0129"[]{},:-.e\\\x00\xff'))
    path.write_bytes(bytes(data) + hashlib.sha256(data).digest())
    try:
      ticket = tf_unilth.Ticket.load(path)
      assert repr(ticket).isprintable()
      outcomes.add('read')
    except Error:
      outcomes.add('refused')
  assert outcomes == {'read', 'refused'}


def test_a_forged_one_is_read_where_nothing_is_wrong(path):
  path.write_bytes(_forged(_header()))
  assert tf_unilth.Ticket.load(path).masks['a'].tolist() == [True, False]


@pytest.mark.parametrize(
  ('header', 'words'),
  [
    (_header(mask={'shape': [10**12]}), 'claim 125000000000 bytes'),
    (_header(mask={'shape': [2**40] * 32}), r'claim \d+ bytes'),
    (_header(mask={'shape': [10**30]}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': [0]}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': [-8, -1]}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': [2.0]}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': [True]}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': ['2']}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': 2}), "mask 'a' has an invalid shape"),
    (_header(mask={'shape': [1] * 33}), "mask 'a' has an invalid shape"),
    (_header(mask={'name': ''}), 'a mask has no name'),
    (_header(mask={'name': ['a']}), 'a mask has no name'),
    (_header(mask={'path': '/etc/passwd'}), 'a mask must have the keys'),
    (_header(masks=[]), 'list of masks is empty'),
    (_header(masks=None), 'masks must be a list'),
    (_header(masks=[5]), 'a mask must have the keys'),
    (_header(masks=_header()['masks'] * 2), 'claim 2 bytes'),
    (_header(weights=[]), 'list of weights is empty'),
    (_header(weights={}), 'weights must be a list or null'),
    (
      _header(weights=_weight(dtype='object')),
      "weight 'w' has an invalid dtype",
    ),
    (_header(weights=_weight(dtype='O')), "weight 'w' has an invalid dtype"),
    (_header(weights=_weight(dtype='V1')), "weight 'w' has an invalid dtype"),
    (
      _header(weights=_weight(dtype=['bool'])),
      "weight 'w' has an invalid dtype",
    ),
    (_header(weights=_weight(shape=[2**62])), r'claim \d+ bytes'),
    (_header(seed=True), 'seed must be a whole number'),
    (_header(seed=1.5), 'seed must be a whole number'),
    (_header(seed=-1), 'seed must be at least 0'),
    (_header(method=5), 'method must be a string'),
    (_header(provenance=[]), 'provenance must be an object'),
    (_header(code='import os'), 'its header must have the keys'),
    ([], 'its header must have the keys'),
    (5, 'its header must have the keys'),
    (b'', 'its header is not valid JSON'),
    (b'{', 'its header is not valid JSON'),
    (b'\xff\xfe', 'its header is not valid JSON'),
    (b'[' * 100_000, 'its header is not valid JSON'),
    (b'{"a":' * 100_000, 'its header is not valid JSON'),
    (b'{"seed": 1, "seed": 2}', 'repeats a key'),
    (b'{"seed": NaN}', 'contains NaN'),
    (b'9' * 10_000, 'its header'),
  ],
)
def test_a_malicious_header_is_refused(path, header, words):
  _refused(path, _forged(header), words)


@pytest.mark.parametrize(
  ('data', 'words'),
  [
    (_forged(_header(), b''), 'claim 1 bytes, but it holds 0'),
    (_forged(_header(), b'\x80\0'), 'claim 1 bytes, but it holds 2'),
    (_forged(_header(), b'\x81'), "mask 'a' does not end in zeros"),
    (_forged(_header(), b'\xc0'), 'must have a zero'),
    (_forged(_header(weights=_weight()), b'\x80\x02'), 'is not boolean'),
    (
      _forged(_header(masks=_header()['masks'] * 2), b'\x80\x80'),
      "two of its arrays are 'a'",
    ),
    (
      _forged(_header(), version=2),
      'format version 2, but this tf_unilth reads',
    ),
    (_forged(_header(), claimed=2**32 - 1), 'header claims 4294967295 bytes'),
    (_forged(_header(), claimed=200), 'header claims 200 bytes'),
    (_forged(_header(), claimed=5), 'its header is not valid JSON'),
    (_forged(_header(), length=2**63), 'were written'),
  ],
)
def test_a_malicious_file_is_refused(path, data, words):
  _refused(path, data, words)


def test_a_header_has_a_longest_length(path):
  length = (1 << 24) + 1
  _refused(path, _forged(b' ' * length), 'header claims 16777217 bytes')


def test_names_are_not_paths_and_nothing_is_written(path):
  names = ['/etc/passwd', '../../x', 'a\0b', '\x1b[2J', 'C:\\x']
  for name in names:
    path.write_bytes(_forged(_header(mask={'name': name}, method=name)))
    ticket = tf_unilth.Ticket.load(path)
    assert list(ticket.masks) == [name]
    assert repr(ticket).isprintable()
    assert os.listdir(path.parent) == ['a.ticket']
  forged = _forged(_header(mask={'name': '\ud800'}))
  _refused(path, forged, 'a name that UTF-8 cannot encode')


def test_a_claim_takes_no_memory(path):
  huge = [10**12]
  for header in (
    _header(mask={'shape': huge}),
    _header(weights=_weight(shape=huge)),
    _header(weights=_weight(shape=[2**20] * 32)),
  ):
    path.write_bytes(_forged(header))
    tracemalloc.start()
    with pytest.raises(Error):
      tf_unilth.Ticket.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_memory_is_bounded_by_the_files_size(path):
  size = 8_000_000
  mask = np.arange(size) % 10 == 0
  bits = np.packbits(mask).tobytes()
  path.write_bytes(_forged(_header(mask={'shape': [size]}), bits))
  tracemalloc.start()
  tf_unilth.Ticket.load(path)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 12 * path.stat().st_size
