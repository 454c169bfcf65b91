"""Small data sets in the forms in which the real ones are distributed."""

import gzip
import pathlib
import struct

import numpy as np
import tensorflow as tf

from recipes.data.arrays import Arrays


def arrays(
  shape: tuple[int, ...], classes: int, train: int = 20, test: int = 6
) -> Arrays:
  """Returns random images; labels go round the classes."""
  rng = np.random.default_rng(0)
  return Arrays(
    rng.integers(0, 256, (train, *shape), np.uint8),
    np.arange(train, dtype=np.uint8) % classes,
    rng.integers(0, 256, (test, *shape), np.uint8),
    np.arange(test, dtype=np.uint8) % classes,
  )


def write_npz(path: pathlib.Path, data: Arrays, **changed: object) -> None:
  """Writes the four arrays, some of them replaced, or left out for `None`."""
  content = {**vars(data), **changed}
  np.savez(path, **{k: v for k, v in content.items() if v is not None})


def idx_bytes(array: np.ndarray) -> bytes:
  """Returns the content of an idx file."""
  header = struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape)
  return header + array.tobytes()


def write_idx(folder: pathlib.Path, data: Arrays, packed: bool) -> None:
  """Writes MNIST's four files."""
  for name, array in {
    'train-images-idx3-ubyte': data.x_train,
    'train-labels-idx1-ubyte': data.y_train,
    't10k-images-idx3-ubyte': data.x_test,
    't10k-labels-idx1-ubyte': data.y_test,
  }.items():
    content = idx_bytes(array)
    if packed:
      (folder / f'{name}.gz').write_bytes(gzip.compress(content))
    else:
      (folder / name).write_bytes(content)


def _rows(x: np.ndarray) -> np.ndarray:
  return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def write_cifar10_binary(folder: pathlib.Path, data: Arrays) -> None:
  """Writes five training files and a test file."""
  train = np.concatenate([data.y_train[:, None], _rows(data.x_train)], axis=1)
  for i, part in enumerate(np.split(train, 5), 1):
    (folder / f'data_batch_{i}.bin').write_bytes(part.tobytes())
  test = np.concatenate([data.y_test[:, None], _rows(data.x_test)], axis=1)
  (folder / 'test_batch.bin').write_bytes(test.tobytes())


def write_cifar100_binary(folder: pathlib.Path, data: Arrays) -> None:
  """Writes two files, with a coarse label before each label."""
  for name, x, y in (
    ('train.bin', data.x_train, data.y_train),
    ('test.bin', data.x_test, data.y_test),
  ):
    coarse = np.full((len(x), 1), 99, np.uint8)
    rows = np.concatenate([coarse, y[:, None], _rows(x)], axis=1)
    (folder / name).write_bytes(rows.tobytes())


def python2_pickle(x: np.ndarray, labels: list[int], key: str) -> bytes:
  """Returns what Python 2 writes: byte strings, and NumPy's old names."""

  def short(text: str) -> bytes:
    return b'U' + bytes([len(text)]) + text.encode()

  def integer(n: int) -> bytes:
    return b'J' + struct.pack('<i', n)

  raw = x.tobytes()
  return b''.join(
    [
      b'\x80\x02}(' + short('data'),
      b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n',
      b'K\x00\x85' + short('b') + b'\x87R',
      b'(K\x01' + integer(x.shape[0]) + integer(x.shape[1]) + b'\x86',
      b'cnumpy\ndtype\n' + short('u1') + b'K\x00K\x01\x87R',
      b'(K\x03' + short('|') + b'NNN' + integer(-1) * 2 + b'K\x00tb',
      b'\x89T' + struct.pack('<i', len(raw)) + raw + b'tb',
      short(key) + b'](' + b''.join(map(integer, labels)) + b'eu.',
    ]
  )


def write_cifar_python(
  folder: pathlib.Path, data: Arrays, names: tuple[str, ...], key: str
) -> None:
  """Writes pickles as CIFAR's authors did.

  Args:
    folder: which exists.
    data: is split over all names but the last, which is for the test.
    names: of the files.
    key: of the labels.
  """
  parts = len(names) - 1
  train = zip(np.split(data.x_train, parts), np.split(data.y_train, parts))
  for name, (x, y) in zip(names, [*train, (data.x_test, data.y_test)]):
    content = python2_pickle(_rows(x), y.tolist(), key)
    (folder / name).write_bytes(content)


def write_images(
  folder: pathlib.Path, x: np.ndarray, ending: str = 'png'
) -> None:
  """Writes images, numbered, in a folder that is made."""
  folder.mkdir(parents=True, exist_ok=True)
  encode = tf.io.encode_png if ending == 'png' else tf.io.encode_jpeg
  for i, image in enumerate(x):
    tf.io.write_file(f'{folder}/{i}.{ending}', encode(image))


def write_class_folders(
  folder: pathlib.Path, data: Arrays, test: str | None, ending: str = 'png'
) -> None:
  """Writes train/CLASS/ and a folder with test images, or CLASS/ alone."""
  train = folder / 'train' if test else folder
  groups = [(train, data.x_train, data.y_train)]
  if test:
    groups.append((folder / test, data.x_test, data.y_test))
  for root, x, y in groups:
    for label in np.unique(y):
      write_images(root / f'class{label:03}', x[y == label], ending)
