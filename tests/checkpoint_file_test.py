"""Checkpoints as files: written whole, read with distrust, a good one found."""

import hashlib
import json
import pickle
import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.resume import checkpoint_file
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.checkpoint_store import CheckpointDirectory

_PREFIX = struct.Struct('<8sIIQ')
_VARIABLES = {
  'kernel': np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
  'half': np.array([0.1, -0.0], tf.bfloat16.as_numpy_dtype),
  'step': np.array(5, np.int64),
  'chosen': np.array([[True], [False]]),
  'none': np.zeros((0, 3), np.float32),
}
_VALUES = {
  'history': {'loss': [0.1 + 0.2, float('inf')], 'lr': [np.float32(0.1)]},
  'random': (3, np.arange(4, dtype=np.uint32), None),
  'state': b'\x00\xff',
  'wait': 2,
  'on': True,
}


def _checkpoint(epoch=4, step=0):
  return Checkpoint(epoch, step, 0, False, {'a': [1]}, _VARIABLES, _VALUES)


def _written(tmp_path):
  path = tmp_path / 'one'
  checkpoint_file.write(path, _checkpoint())
  return path


def _same(one, other):
  if isinstance(one, np.ndarray | np.generic):
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()
  if isinstance(one, dict):
    return one.keys() == other.keys() and all(
      _same(one[name], other[name]) for name in one
    )
  if isinstance(one, list | tuple):
    return type(one) is type(other) and all(map(_same, one, other))
  return type(one) is type(other) and one == other


def test_what_is_written_is_read_bit_for_bit(tmp_path):
  found = checkpoint_file.read(_written(tmp_path))
  assert (found.epoch, found.step, found.first_epoch) == (4, 0, 0)
  assert found.run == {'a': [1]} and found.finished is False
  assert _same(_VARIABLES, found.variables)
  assert _same(_VALUES, found.values)


def test_what_a_file_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
  for value in ({1}, np.array(['text']), np.array([object()])):
    odd = Checkpoint(1, 0, 0, False, {}, {}, {'odd': value})
    with pytest.raises(TypeError, match='cannot hold'):
      checkpoint_file.write(tmp_path / 'odd', odd)
  assert not [*tmp_path.iterdir()]


def test_every_altered_byte_and_every_length_is_noticed(tmp_path):
  path = _written(tmp_path)
  data = path.read_bytes()
  for position in range(len(data)):
    altered = bytearray(data)
    altered[position] ^= 1 << position % 8
    path.write_bytes(altered)
    with pytest.raises(DamagedError):
      checkpoint_file.read(path)
    path.write_bytes(data[:position])
    with pytest.raises(DamagedError):
      checkpoint_file.read(path)


def _forged(tmp_path, change):
  """Writes a file whose seal is right, but whose header a user has made."""
  path = _written(tmp_path)
  data = path.read_bytes()
  magic, version, length, _ = _PREFIX.unpack_from(data)
  end = _PREFIX.size + length
  header = json.loads(data[_PREFIX.size : end])
  change(header)
  text = json.dumps(header).encode()
  whole = _PREFIX.size + len(text) + len(data) - end
  body = _PREFIX.pack(magic, version, len(text), whole) + text + data[end:-32]
  path.write_bytes(body + hashlib.sha256(body).digest())
  return path


@pytest.mark.parametrize(
  'change',
  [
    lambda header: header.pop('epoch'),
    lambda header: header.update(epoch='4'),
    lambda header: header.update(epoch=True),
    lambda header: header['arrays'][0].update(shape=[1 << 40, 1 << 20]),
    lambda header: header['arrays'][0].update(shape=[-1]),
    lambda header: header['arrays'][0].update(dtype='object'),
    lambda header: header['arrays'][0].update(name=5),
    lambda header: header['arrays'].append(header['arrays'][0]),
    lambda header: header.update(values={'items': [['a', {'array': 'no'}]]}),
    lambda header: header.update(values={'items': [['a', {'eval': 'no'}]]}),
    lambda header: header.update(values={'items': [[['a'], 1]]}),
    lambda header: header.update(values={'items': [['a', {'float': 'no'}]]}),
    lambda header: header.update(values={'items': 5}),
    lambda header: header.update(values={'a': 1, 'b': 2}),
  ],
)
def test_what_a_header_claims_is_not_believed(change, tmp_path):
  with pytest.raises(DamagedError):
    checkpoint_file.read(_forged(tmp_path, change))


def test_a_pickle_is_not_run(tmp_path):
  path = tmp_path / 'pickle'
  path.write_bytes(pickle.dumps({'a': 1}) + bytes(200))
  with pytest.raises(DamagedError, match='magic bytes of a checkpoint'):
    checkpoint_file.read(path)


# The directory.


def _directory(tmp_path, *moments, keep=2):
  directory = CheckpointDirectory(tmp_path, keep)
  for moment in moments:
    directory.write(_checkpoint(*moment))
  return directory


def _names(tmp_path):
  return sorted(path.name for path in tmp_path.iterdir())


def test_the_newest_are_kept(tmp_path):
  _directory(tmp_path, (1, 0), (1, 7), (2, 0), (2, 3))
  assert _names(tmp_path) == [
    'epoch-000002-step-000000000.checkpoint',
    'epoch-000002-step-000000003.checkpoint',
  ]


def test_no_checkpoint_is_none(tmp_path):
  assert CheckpointDirectory(tmp_path / 'not there', 2).newest() is None


def test_a_damaged_newest_is_named_and_the_one_before_it_used(tmp_path):
  directory = _directory(tmp_path, (1, 0), (2, 0))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert directory.newest().epoch == 2
  newest = tmp_path / _names(tmp_path)[-1]
  newest.write_bytes(newest.read_bytes()[:-1])
  with pytest.warns(UserWarning, match='epoch-000002.*truncated.*epoch-000001'):
    assert directory.newest().epoch == 1


def test_damaged_ones_alone_are_an_error(tmp_path):
  directory = _directory(tmp_path, (1, 0), (2, 0))
  for path in tmp_path.iterdir():
    path.write_bytes(b'')
  with pytest.raises(
    CheckpointError, match=r'no checkpoint.*is intact: remove'
  ):
    directory.newest()


def test_what_a_killed_run_has_begun_is_removed(tmp_path):
  directory = _directory(tmp_path, (1, 0))
  (tmp_path / f'.epoch-000002-step-0.checkpoint-{"0a" * 16}').write_bytes(b'')
  (tmp_path / '.a-file-of-the-users').write_bytes(b'')
  directory.remove_unfinished()
  assert _names(tmp_path) == [
    '.a-file-of-the-users',
    'epoch-000001-step-000000000.checkpoint',
  ]
