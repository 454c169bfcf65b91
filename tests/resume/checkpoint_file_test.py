"""Checkpoints as files: written whole, read with distrust, a good one found."""

import json
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import tf_unilth
from tests.testing import forged_files
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.files.checksummed_file import DamagedError
from tf_unilth.resume import checkpoint_file
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.checkpoint_store import CheckpointDirectory

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


@pytest.mark.parametrize('levels', [40, 300, 5000])
def test_what_is_nested_too_deep_to_be_read_is_not_written(levels, tmp_path):
  values = {}
  for _ in range(levels):
    values = {'a': values}
  deep = Checkpoint(1, 0, 0, False, {}, {}, values)
  path = tmp_path / 'deep'
  if levels < 50:
    checkpoint_file.write(path, deep)
    assert checkpoint_file.read(path).values == values
    return
  with pytest.raises(ValueError, match='nested more than 200 levels deep'):
    checkpoint_file.write(path, deep)
  assert not path.exists()


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
  """Writes a file whose digest is right, but whose content a user has made."""
  path = _written(tmp_path)
  header, payload = forged_files.split(path.read_bytes())
  description = json.loads(header['__metadata__']['description'])
  change(description, header)
  header['__metadata__']['description'] = json.dumps(description)
  path.write_bytes(forged_files.container(header, payload))
  return path


def _first(header):
  return header['variable kernel']


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    (lambda d, _: d.pop('epoch'), 'its description must have the keys'),
    (lambda d, _: d.update(epoch='4'), 'epoch must be a whole number'),
    (lambda d, _: d.update(epoch=True), 'epoch must be a whole number'),
    (lambda _, h: _first(h).update(shape=[1 << 40, 1 << 20]), 'do not fit'),
    (lambda _, h: _first(h).update(shape=[6]), None),
    (lambda _, h: _first(h).update(shape=[7]), 'do not fit'),
    (lambda _, h: _first(h).update(shape=[-1]), 'an invalid shape'),
    (lambda _, h: _first(h).update(shape=[1] * 33), 'an invalid shape'),
    (lambda _, h: _first(h).update(dtype='object'), 'an invalid dtype'),
    (lambda _, h: _first(h).update(dtype='F8_E5M2'), 'an invalid dtype'),
    (lambda _, h: _first(h).update(dtype=['F32']), 'an invalid dtype'),
    (lambda _, h: _first(h).update(data_offsets=[0]), 'invalid offsets'),
    (lambda _, h: _first(h).update(data_offsets=5), 'invalid offsets'),
    (lambda _, h: _first(h).update(data_offsets=[0, 1 << 40]), 'truncated'),
    (lambda _, h: _first(h).pop('shape'), 'must have the keys'),
    (lambda _, h: _first(h).update(path='/etc/passwd'), 'must have the keys'),
    (lambda _, h: h.update(more=_first(h)), 'truncated'),
    (lambda _, h: h.update({'value 5': 5}), 'must have the keys'),
    (
      lambda d, _: d.update(values={'items': [['a', {'array': 'no'}]]}),
      'values is invalid',
    ),
    (
      lambda d, _: d.update(values={'items': [['a', {'eval': 'no'}]]}),
      'values is invalid',
    ),
    (
      lambda d, _: d.update(values={'items': [[['a'], 1]]}),
      'values is invalid',
    ),
    (
      lambda d, _: d.update(values={'items': [['a', {'float': 'no'}]]}),
      'values is invalid',
    ),
    (lambda d, _: d.update(values={'items': 5}), 'values is invalid'),
    (lambda d, _: d.update(values={'a': 1, 'b': 2}), 'values is invalid'),
    (lambda _, h: h['__metadata__'].update(version='3'), "version '3', but"),
    (lambda _, h: h['__metadata__'].update(version=2), 'must be a string'),
    (lambda _, h: h['__metadata__'].update(code='x'), 'must have the keys'),
    (
      lambda _, h: h['__metadata__'].update(format='tf_unilth ticket'),
      'it is not a checkpoint',
    ),
  ],
)
def test_what_a_header_claims_is_not_believed(change, words, tmp_path):
  path = _forged(tmp_path, change)
  if words is None:  # That a forged file can be read at all.
    assert checkpoint_file.read(path).variables['kernel'].shape == (6,)
    return
  with pytest.raises(DamagedError, match=words):
    checkpoint_file.read(path)


def test_the_format_of_0_1_0_is_refused_with_its_version(tmp_path):
  path = tmp_path / 'old'
  path.write_bytes(b'\x89RUN\r\n\x1a\n' + bytes(100))
  with pytest.raises(DamagedError, match=r'format version 1, but .* version 2'):
    checkpoint_file.read(path)


def test_writing_copies_no_array_and_reading_each_once(tmp_path):
  size = 8_000_000
  variables = {str(i): np.full(size // 16, i, np.float32) for i in range(4)}
  checkpoint = Checkpoint(1, 0, 0, False, {}, variables, {})
  tracemalloc.start()
  checkpoint_file.write(tmp_path / 'one', checkpoint)
  _, written = tracemalloc.get_traced_memory()
  tracemalloc.reset_peak()
  checkpoint_file.read(tmp_path / 'one')
  _, read = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert written < 0.1 * size
  assert read < 2.1 * size


def test_checkpoints_open_in_safetensors(tmp_path):
  tensors = safetensors.numpy.load_file(_written(tmp_path))
  for name, array in _VARIABLES.items():
    assert _same(tensors[f'variable {name}'], array)


@pytest.mark.parametrize('order', ['<', '>'])
def test_any_order_of_bytes_and_of_axes_is_stored(order, tmp_path):
  array = np.arange(6, dtype=f'{order}i4').reshape(2, 3)
  for value in (array, array.T, array[:, ::2]):
    odd = Checkpoint(1, 0, 0, False, {}, {'a': value}, {})
    checkpoint_file.write(tmp_path / 'odd', odd)
    found = checkpoint_file.read(tmp_path / 'odd').variables['a']
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, value)


def test_a_pickle_is_not_run(tmp_path):
  path = tmp_path / 'pickle'
  path.write_bytes(pickle.dumps({'a': 1}) + bytes(200))
  with pytest.raises(DamagedError, match='not begin as a checkpoint'):
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


def test_the_warning_points_to_the_line_of_the_user(tmp_path):
  _directory(tmp_path, (1, 0), (2, 0))
  (tmp_path / _names(tmp_path)[-1]).write_bytes(b'half')
  with pytest.warns(UserWarning, match='The one before it is used') as warned:
    tf_unilth.CheckpointAndResume(tmp_path)
  assert [warning.filename for warning in warned] == [__file__]


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
