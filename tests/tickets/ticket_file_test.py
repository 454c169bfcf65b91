"""A ticket's file: bit for bit, and whole or not at all."""

import hashlib
import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import tf_unilth
from tests.testing import all_types, forged_files
from tf_unilth.files import array_container


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'a.ticket'


@pytest.fixture
def whole(path):
  all_types.ticket().save(path)
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
  ticket = all_types.ticket(**fields)
  ticket.save(path)
  _assert_same(tf_unilth.Ticket.load(path), ticket)
  assert f'{path.stat().st_size:,} bytes' in repr(ticket)


def test_every_dtype_is_among_them():
  weights = all_types.ticket().rewind_weights.values()
  assert {array.dtype.name for array in weights} == {*array_container.DTYPES}


def test_the_format_is_what_its_text_says(whole):
  header, payload = forged_files.split(whole)
  metadata = header.pop('__metadata__')
  assert metadata['format'] == 'tf_unilth ticket' and metadata['version'] == '2'
  zeros = whole.replace(metadata['sha256'].encode(), b'0' * 64)
  assert hashlib.sha256(zeros).hexdigest() == metadata['sha256']
  ticket = all_types.ticket()
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
  ticket = all_types.ticket()
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
  all_types.ticket().save(path, overwrite=True)
  assert path.read_bytes() == whole


def test_an_existing_path_is_kept_unless_told(whole, path):
  with pytest.raises(FileExistsError, match='overwrite=True'):
    all_types.ticket(seed=4).save(path)
  assert path.read_bytes() == whole
  all_types.ticket(seed=4).save(path, overwrite=True)
  assert tf_unilth.Ticket.load(path).seed == 4


@pytest.mark.parametrize('exists', [False, True])
def test_a_save_that_fails_leaves_nothing(path, monkeypatch, exists):
  if exists:
    path.write_bytes(b'precious')

  def full_disk(descriptor):
    raise OSError('no space left on device')

  monkeypatch.setattr(os, 'fsync', full_disk)
  with pytest.raises(OSError, match='no space left'):
    all_types.ticket().save(path, overwrite=True)
  assert os.listdir(path.parent) == (['a.ticket'] if exists else [])
  assert not exists or path.read_bytes() == b'precious'


def test_what_json_cannot_hold_is_refused_before_the_file_is_there(path):
  with pytest.raises(ValueError, match='provenance must be serializable as JS'):
    all_types.ticket(provenance={'model': object()}).save(path)
  weights = {'words': np.array(['a'], object)}
  with pytest.raises(ValueError, match="'words' is of dtype object"):
    all_types.ticket(rewind_weights=weights).save(path)
  weights = {'\ud800': np.ones(2)}
  with pytest.raises(ValueError, match='a name that UTF-8 cannot encode'):
    all_types.ticket(rewind_weights=weights).save(path)
  tickets = all_types.ticket(provenance={'long': 'x' * (1 << 24)})
  with pytest.raises(ValueError, match='header of a ticket must have at most'):
    tickets.save(path)
  assert not os.listdir(path.parent)
