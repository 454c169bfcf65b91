"""Finds the format of a data set of small images, and reads it."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

from recipes.data.arrays import Arrays, DataError, Parts, checked, reason
from recipes.data.formats import cifar, class_folders, idx, npz, tfds

_KERAS = 'https://storage.googleapis.com/tensorflow/tf-keras-datasets/'
_TORONTO = 'https://www.cs.toronto.edu/~kriz/'
# As tf_keras.datasets fetches them: file, address, SHA-256.
_DOWNLOADS = {
  'mnist': (
    'mnist.npz',
    f'{_KERAS}mnist.npz',
    '731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1',
  ),
  'cifar10': (
    'cifar-10-batches-py',
    f'{_TORONTO}cifar-10-python.tar.gz',
    '6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce',
  ),
  'cifar100': (
    'cifar-100-python',
    f'{_TORONTO}cifar-100-python.tar.gz',
    '85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7',
  ),
}


@dataclasses.dataclass(frozen=True)
class Images:
  """All images of a data set, in memory.

  Args:
    images: [n, height, width, channels], uint8, or float32 in [0, 1].
    labels: int64 [n].
    parts: which are for training, validation and test.
  """

  images: np.ndarray
  labels: np.ndarray
  parts: Parts


_Reader = Callable[[], Images]


def read(
  name: str,
  image_shape: tuple[int, ...],
  classes: int,
  data_dir: str | None,
  download: bool,
) -> Images:
  """Returns a data set, from `data_dir` or the cache of Keras.

  Args:
    name: `mnist`, `cifar10`, `cifar100` or `tiny_imagenet`.
    image_shape: height, width, channels.
    classes: labels are from 0 to this, exclusive.
    data_dir: a folder, or an .npz file; `None` for the cache of Keras.
    download: whether to fetch what is not there.

  Raises:
    DataError: it is missing or damaged.
  """
  place = pathlib.Path(data_dir) if data_dir else _keras_cache()
  if data_dir and not place.exists() and not download:
    raise DataError(f"data_dir='{place}' does not exist.")
  reader = _reader(name, image_shape, classes, place)
  if reader is None and download:
    _download(name, place)
    reader = _reader(name, image_shape, classes, place)
  if reader is None:
    raise DataError(_nothing(name, place, data_dir is None))
  return reader()


def _keras_cache() -> pathlib.Path:
  home = os.environ.get('KERAS_HOME')
  root = pathlib.Path(home) if home else pathlib.Path.home() / '.keras'
  return root / 'datasets'


def _reader(
  name: str, image_shape: tuple[int, ...], classes: int, place: pathlib.Path
) -> _Reader | None:
  """Returns the reader for the content of a path, `None` if there is none."""

  def arrays(source: pathlib.Path, of: Callable[[], Arrays]) -> _Reader:
    return lambda: _joined(checked(of(), image_shape, classes, source), source)

  if place.is_file():
    return arrays(place, lambda: npz.read(place))
  if not place.is_dir():
    return None
  archive = place / f'{name}.npz'
  if archive.is_file():
    return arrays(archive, lambda: npz.read(archive))
  idx_files = idx.find(place) if name == 'mnist' else None
  if idx_files:
    return arrays(place, lambda: idx.read(idx_files))
  cifar_files = cifar.find(name, place)
  if cifar_files:
    return arrays(cifar_files[1], lambda: cifar.read(*cifar_files))
  builder = tfds.find(name, place)
  if builder:
    return arrays(builder, lambda: tfds.read(builder))
  if class_folders.find(place):
    return lambda: _folders(place, image_shape, classes)
  return None


def _joined(arrays: Arrays, source: pathlib.Path) -> Images:
  if arrays.x_train.dtype != arrays.x_test.dtype:
    raise DataError(
      f"'{source}': x_train is {arrays.x_train.dtype}, but x_test "
      f'{arrays.x_test.dtype}.'
    )
  train, test = len(arrays.x_train), len(arrays.x_test)
  return Images(
    np.concatenate([arrays.x_train, arrays.x_test]),
    np.concatenate([arrays.y_train, arrays.y_test]),
    Parts(np.arange(train), None, np.arange(train, train + test)),
  )


def _folders(
  place: pathlib.Path, image_shape: tuple[int, ...], classes: int
) -> Images:
  from recipes.data import image_files  # It imports TensorFlow.

  found = class_folders.read(place)
  if len(found.classes) != classes:
    raise DataError(
      f"'{place}' must have {classes} folders of classes, but has "
      f'{len(found.classes)}.'
    )
  images = image_files.read_exact(found.paths, image_shape)
  return Images(images, found.labels, found.parts)


def _download(name: str, place: pathlib.Path) -> None:
  if name not in _DOWNLOADS:
    raise DataError(
      f'{name} cannot be downloaded by Keras; only {", ".join(_DOWNLOADS)} can.'
    )
  file, address, digest = _DOWNLOADS[name]
  try:
    place.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise DataError(f"data_dir='{place}': {error.strerror}.") from error
  # Otherwise Keras would use a temporary folder.
  if not os.access(place, os.W_OK):
    raise DataError(f"data_dir='{place}' cannot be written to.")
  import tf_keras as keras  # Here, because arrays need no TensorFlow.

  try:
    keras.utils.get_file(
      file,
      address,
      untar=address.endswith('.tar.gz'),
      file_hash=digest,
      cache_dir=str(place),
      cache_subdir='',
    )
  # Keras raises a bare Exception if a server does not respond.
  except Exception as error:
    raise DataError(f'{name} cannot be downloaded: {reason(error)}') from error


def _nothing(name: str, place: pathlib.Path, cache: bool) -> str:
  forms = [f'{name}.npz']
  if name == 'mnist':
    forms.append('train-images-idx3-ubyte (or .gz)')
  forms += [version.folder for version in cifar.VERSIONS.get(name, ())]
  forms += [f'a TFDS folder {name}', 'train/CLASS/ or CLASS/ with images']
  advice = '; give --data_dir'
  if name in _DOWNLOADS:
    advice += ' or --download'
  return (
    f"{name} is not in '{place}', which was searched for "
    f'{", ".join(forms)}{advice if cache else ""}.'
  )
