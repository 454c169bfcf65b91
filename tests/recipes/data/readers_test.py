"""Readers: each form gives the same images; what is wrong is named."""

import io
import pathlib
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from recipes.costs import memory
from recipes.data import readers
from recipes.data.arrays import DataError
from recipes.data.formats import cifar, safe_pickle, tfds
from tests.testing import made_data

_MNIST = (28, 28, 1)
_CIFAR = (32, 32, 3)


def _read(name, place, shape=None, classes=10):
  shape = shape or (_MNIST if name == 'mnist' else _CIFAR)
  return readers.read(name, shape, classes, str(place), download=False)


def _assert_holds(found, data):
  assert found.parts.validation is None
  for name, indices in (
    ('train', found.parts.train),
    ('test', found.parts.test),
  ):
    images, labels = getattr(data, f'x_{name}'), getattr(data, f'y_{name}')
    np.testing.assert_array_equal(
      found.images[indices], images.reshape(-1, *found.images.shape[1:])
    )
    np.testing.assert_array_equal(found.labels[indices], labels)
  assert found.labels.dtype == np.int64


@pytest.mark.parametrize('form', ['npz', 'npz file', 'keras', 'idx', 'idx.gz'])
def test_mnist_in_each_form(form, tmp_path, monkeypatch):
  data, place = made_data.arrays((28, 28), 10), tmp_path
  if form.startswith('idx'):
    made_data.write_idx(tmp_path, data, packed=form == 'idx.gz')
  elif form == 'keras':
    (tmp_path / 'datasets').mkdir()
    made_data.write_npz(tmp_path / 'datasets' / 'mnist.npz', data)
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    place = None
  else:
    made_data.write_npz(tmp_path / 'mnist.npz', data)
    place = tmp_path / 'mnist.npz' if form == 'npz file' else tmp_path
  found = readers.read(
    'mnist', _MNIST, 10, place and str(place), download=False
  )
  _assert_holds(found, data)


@pytest.mark.parametrize('form', ['binary', 'python', 'folder'])
@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_cifar_in_each_form(name, form, tmp_path):
  classes = int(name.removeprefix('cifar'))
  data = made_data.arrays(_CIFAR, min(classes, 20))
  _, python = cifar.VERSIONS[name]
  place = tmp_path
  if form == 'folder':
    place = tmp_path / python.folder
    place.mkdir()
  if form == 'binary':
    getattr(made_data, f'write_{name}_binary')(place, data)
  else:
    key = 'labels' if name == 'cifar10' else 'fine_labels'
    names = (*python.train, python.test)
    made_data.write_cifar_python(place, data, names, key)
  _assert_holds(_read(name, tmp_path, classes=classes), data)


def test_a_pickle_of_python_3_is_read_too(tmp_path):
  content = {'data': np.zeros((2, 3), np.uint8), 'labels': [1, 2]}
  for protocol in range(5):
    path = tmp_path / str(protocol)
    path.write_bytes(pickle.dumps(content, protocol))
    read = safe_pickle.read(path)
    np.testing.assert_array_equal(read['data'], content['data'])
    assert read['labels'] == [1, 2]


def test_small_images_in_folders(tmp_path):
  data = made_data.arrays((28, 28, 1), 10)
  made_data.write_class_folders(tmp_path, data, 'test')
  found = _read('mnist', tmp_path)
  order = np.argsort(data.y_train, kind='stable')
  np.testing.assert_array_equal(found.images[:20], data.x_train[order])
  np.testing.assert_array_equal(found.labels[:20], data.y_train[order])
  assert len(found.parts.test) == 6


def _error(name, place, **given):
  with pytest.raises(DataError) as raised:
    _read(name, place, **given)
  assert '\n' not in str(raised.value)
  return str(raised.value)


def test_nothing_there_says_what_was_looked_for(tmp_path):
  message = _error('cifar10', tmp_path)
  for form in ('cifar10.npz', 'cifar-10-batches-py', 'cifar-10-batches-bin'):
    assert form in message
  assert 'does not exist' in _error('cifar10', tmp_path / 'nowhere')


def test_without_a_data_dir_the_flags_are_named(tmp_path, monkeypatch):
  monkeypatch.setenv('KERAS_HOME', str(tmp_path))
  with pytest.raises(DataError, match='--data_dir or --download'):
    readers.read('mnist', _MNIST, 10, None, download=False)
  with pytest.raises(DataError, match='cannot be downloaded by Keras'):
    readers.read('tiny_imagenet', (64, 64, 3), 200, None, download=True)


def test_a_download_goes_through_keras_and_is_read(tmp_path, monkeypatch):
  data, asked = made_data.arrays((28, 28), 10), []

  def get_file(name, address, **given):
    asked.append((name, given['file_hash']))
    made_data.write_npz(pathlib.Path(given['cache_dir'], name), data)

  monkeypatch.setattr(keras.utils, 'get_file', get_file)
  place = str(tmp_path / 'new' / 'folder')
  found = readers.read('mnist', _MNIST, 10, place, download=True)
  _assert_holds(found, data)
  assert asked == [('mnist.npz', readers._DOWNLOADS['mnist'][2])]
  readers.read('mnist', _MNIST, 10, place, download=True)
  assert len(asked) == 1  # What is there is not fetched again.

  def fail(*_, **__):
    raise Exception('URL fetch failure\non ...')

  monkeypatch.setattr(keras.utils, 'get_file', fail)
  (tmp_path / 'file').touch()
  place = str(tmp_path / 'file' / 'folder')
  with pytest.raises(DataError, match=r"folder': Not a directory\."):
    readers.read('mnist', _MNIST, 10, place, download=True)
  with pytest.raises(DataError, match='cannot be downloaded: URL fetch'):
    readers.read('cifar10', _CIFAR, 10, str(tmp_path), download=True)


@pytest.mark.parametrize(
  'changed, expected',
  [
    ({'x_test': None}, 'x_test is not there'),
    ({'x_train': np.zeros((20, 28, 27), np.uint8)}, r'[20, 28, 27]'),
    ({'x_train': np.zeros((0, 28, 28), np.uint8)}, 'x_train has no images'),
    ({'x_train': np.zeros((20, 28, 28), np.int32)}, 'but is int32'),
    ({'x_train': np.full((20, 28, 28), np.nan)}, 'goes from nan to nan'),
    ({'x_train': np.full((20, 28, 28), 255.0)}, 'goes from 255 to 255'),
    ({'x_train': np.zeros((20, 28, 28))}, 'x_train is float32, but x_test'),
    ({'y_train': np.arange(20)}, 'y_train must be from 0 to 9, but holds 10'),
    ({'y_train': -np.ones(20, int)}, 'holds -1'),
    ({'y_train': np.zeros(20)}, 'y_train must be integers, but is float64'),
    ({'y_train': np.zeros(19, int)}, 'y_train must be of shape [20]'),
    (
      {'y_test': np.array(['a'] * 6, object)},
      'y_test cannot be read: Object arrays',
    ),
  ],
)
def test_wrong_arrays_are_named(changed, expected, tmp_path):
  path = tmp_path / 'mnist.npz'
  made_data.write_npz(path, made_data.arrays((28, 28), 10), **changed)
  message = _error('mnist', tmp_path)
  assert expected in message and str(path) in message


def test_damaged_npz_files(tmp_path):
  path = tmp_path / 'mnist.npz'
  made_data.write_npz(path, made_data.arrays((28, 28), 10))
  whole = path.read_bytes()
  one = io.BytesIO()
  np.save(one, np.arange(3))
  for content in (b'', b'no zip', whole[:1000], whole[:-1000], one.getvalue()):
    path.write_bytes(content)
    assert 'damaged or no .npz' in _error('mnist', path)
  flipped = bytearray(whole)
  flipped[2000] ^= 1
  path.write_bytes(flipped)
  assert 'CRC' in _error('mnist', path)


@pytest.mark.parametrize('images', [b'99999999999999', b'11000000'])
def test_a_forged_header_allocates_nothing(images, tmp_path):
  path = tmp_path / 'mnist.npz'
  header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1<<0,)}"
  shape = b'(%b, 28, 28)' % images
  header = header.replace(b'(1<<0,)', shape).ljust(117) + b'\n'
  member = b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('x_train.npy', member + bytes(784))
  before = memory.peak()
  assert 'x_train cannot be read: ' in _error('mnist', path)
  assert memory.peak() - before < 2**28  # Of more than the 8 GiB it tells.
  (tmp_path / 'idx').mkdir()
  made_data.write_idx(tmp_path / 'idx', made_data.arrays((28, 28), 10), True)
  forged = made_data.gzip.compress(
    struct.pack('>BBBB3I', 0, 0, 8, 3, 2**31, 2**15, 28)
  )
  packed = tmp_path / 'idx' / 'train-images-idx3-ubyte.gz'
  packed.write_bytes(forged)
  assert 'too short' in _error('mnist', tmp_path / 'idx')


def test_damaged_idx_files(tmp_path):
  data = made_data.arrays((28, 28), 10)
  made_data.write_idx(tmp_path, data, packed=False)
  path = tmp_path / 'train-images-idx3-ubyte'
  whole = path.read_bytes()
  for content, expected in (
    (b'', 'no idx file'),
    (b'\0\0\x0d' + whole[3:], 'no idx file of unsigned bytes'),
    (whole[:10], 'ends within its header'),
    (whole[:-1], 'shorter than its shape'),
    (whole[:20], 'too short'),
    (whole + b'\0', 'longer than its shape'),
  ):
    path.write_bytes(content)
    message = _error('mnist', tmp_path)
    assert expected in message and str(path) in message
  path.unlink()
  assert 'is missing' in _error('mnist', tmp_path)
  (tmp_path / f'{path.name}.gz').write_bytes(b'no gzip')
  assert 'cannot be read' in _error('mnist', tmp_path)
  truncated = made_data.gzip.compress(whole)[:-30]
  (tmp_path / f'{path.name}.gz').write_bytes(truncated)
  assert 'cannot be read' in _error('mnist', tmp_path)


def test_damaged_cifar_binaries(tmp_path):
  made_data.write_cifar10_binary(tmp_path, made_data.arrays(_CIFAR, 10))
  path = tmp_path / 'data_batch_3.bin'
  whole = path.read_bytes()
  for content in (b'', whole[:-1]):
    path.write_bytes(content)
    message = _error('cifar10', tmp_path)
    assert '3073 bytes an image' in message and str(path) in message
  path.write_bytes(bytes([10]) + whole[1:])
  assert 'from 0 to 9, but holds 10' in _error('cifar10', tmp_path)
  path.unlink()
  assert f"'{path}': No such file" in _error('cifar10', tmp_path)


class _Hostile:
  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self._path,)


def _pickles():
  x = np.zeros((1, 3072), np.uint8)
  whole = made_data.python2_pickle(x, [0], 'labels')
  long = struct.pack('<i', 3072)
  return {
    'empty': (b'', ''),
    'truncated': (whole[:-100], ''),
    'no dict': (pickle.dumps([1]), 'must hold a dict'),
    'no labels': (whole.replace(b'labels', b'levels'), "no 'labels'"),
    'other type': (whole.replace(b'u1', b'f8'), 'not of unsigned bytes'),
    'too large': (
      whole.replace(long, b'\xff\xff\xff\x7f', 1),
      '3072 bytes for',
    ),
    'no array': (pickle.dumps({'data': 1, 'labels': [1]}), 'data must be'),
    'no list': (pickle.dumps({'data': x, 'labels': 'a'}, 4), 'list of int'),
    'label': (pickle.dumps({'data': x, 'labels': [2**99]}, 4), 'out of range'),
    # An index for which the machine would make a table of gigabytes.
    'index': (b'\x80\x02}r\xff\xff\xff\x7f.', 'out of range'),
    'call': (b'\x80\x02cnumpy\nndarray\n(tR.', 'unusual'),
    'object': (pickle.dumps({'data': pathlib.Path()}), 'pathlib'),
  }


@pytest.mark.parametrize('what', _pickles())
def test_bad_pickles_are_one_line(what, tmp_path):
  content, expected = _pickles()[what]
  python = cifar.VERSIONS['cifar10'][1]
  data = made_data.arrays(_CIFAR, 10)
  names = (*python.train, python.test)
  made_data.write_cifar_python(tmp_path, data, names, 'labels')
  path = tmp_path / 'data_batch_2'
  path.write_bytes(content)
  message = _error('cifar10', tmp_path)
  assert expected in message and str(path) in message


def test_a_hostile_pickle_is_not_executed(tmp_path):
  path, witness = tmp_path / 'pickle', tmp_path / 'witness'
  path.write_bytes(pickle.dumps({'data': _Hostile(witness)}))
  with pytest.raises(DataError, match='which is no array, list or dict'):
    safe_pickle.read(path)
  assert not witness.exists()
  pickle.loads(path.read_bytes())
  assert witness.exists()  # It would have been.


def test_small_images_of_a_wrong_size_or_broken(tmp_path):
  data = made_data.arrays((28, 28, 1), 10)
  made_data.write_class_folders(tmp_path, data, 'val')
  assert 'must have 11 folders' in _error('mnist', tmp_path, classes=11)
  path = tmp_path / 'train' / 'class004' / '1.png'
  whole = path.read_bytes()
  made_data.write_images(path.parent, data.x_train[:2, :, :27])
  assert 'must be of shape [28, 28, 1]' in _error('mnist', tmp_path)
  made_data.write_images(path.parent, data.x_train[:2])
  for content in (whole[:60], b'text'):
    path.write_bytes(content)
    message = _error('mnist', tmp_path)
    assert f"'{path}' cannot be decoded" in message
  path.write_bytes(b'')
  assert _error('mnist', tmp_path) == f"'{path}' is empty."


def test_what_tfds_prepared_is_read_or_named(tmp_path, monkeypatch):
  folder = tmp_path / 'mnist' / '3.0.1'
  for version in ('3.0.1', '2.9.9'):
    (tmp_path / 'mnist' / version).mkdir(parents=True)
    (tmp_path / 'mnist' / version / 'dataset_info.json').touch()
  assert tfds.find('mnist', tmp_path) == folder
  assert tfds.find('mnist', folder) == folder
  assert tfds.find('cifar10', tmp_path) is None
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  assert 'install tensorflow-datasets' in _error('mnist', tmp_path)
  data = made_data.arrays(_MNIST, 10)

  class Builder:
    class info:
      splits = ('train', 'test')

    def as_dataset(self, split, as_supervised):
      x, y = getattr(data, f'x_{split}'), getattr(data, f'y_{split}')
      return tf.data.Dataset.from_tensor_slices((x, y))

  class Module:
    @staticmethod
    def builder_from_directory(path):
      assert path == str(folder)
      return Builder()

  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', Module)
  _assert_holds(_read('mnist', tmp_path), data)
  Builder.info.splits = ('train',)
  assert "has no split 'test'" in _error('mnist', tmp_path)
