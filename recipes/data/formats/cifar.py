"""Reads CIFAR-10 and CIFAR-100, in the binary and in the Python version.

Keras reads the Python version only, and unpickles it, which can run code. This
reader executes nothing (see `safe_pickle`), and checks shapes and labels.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from recipes.data.arrays import Arrays, DataError
from recipes.data.formats import safe_pickle

_PIXELS = 3 * 32 * 32
_Read = Callable[[pathlib.Path], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Version:
  """One of the forms in which a data set is distributed.

  Args:
    folder: what the archive unpacks to.
    train: file names of the training set.
    test: file name of the test set.
    read: returns images and labels of one file.
  """

  folder: str
  train: tuple[str, ...]
  test: str
  read: _Read


def _binary(labels: int) -> _Read:
  """Returns a reader of rows of label bytes, of which the last counts."""

  def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    content = path.read_bytes()
    row = labels + _PIXELS
    if not content or len(content) % row:
      raise DataError(
        f"'{path}' must have {row} bytes an image, but has {len(content)} in "
        'all.'
      )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    return rows[:, labels:], rows[:, labels - 1]

  return read


def _python(labels: bytes) -> _Read:
  def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    content = safe_pickle.read(path)
    if not isinstance(content, dict):
      raise DataError(f"'{path}' must hold a dict.")
    # Python 3 writes them as strings.
    content = {_as_bytes(key): value for key, value in content.items()}
    for key in (b'data', labels):
      if key not in content:
        raise DataError(f"'{path}' has no {key.decode()!r}.")
    x, y = content[b'data'], _integers(content[labels], path)
    if not isinstance(x, np.ndarray) or x.shape != (len(y), _PIXELS):
      raise DataError(
        f"'{path}': data must be of shape [{len(y)}, {_PIXELS}], but is "
        f'{list(np.shape(x))}.'
      )
    return x, y

  return read


def _as_bytes(key: object) -> object:
  return key.encode() if isinstance(key, str) else key


def _integers(labels: object, path: pathlib.Path) -> np.ndarray:
  if not isinstance(labels, list) or not all(type(y) is int for y in labels):
    raise DataError(f"'{path}': labels must be a list of integers.")
  try:
    return np.array(labels, np.int64)
  except OverflowError:
    raise DataError(f"'{path}': a label is out of range.") from None


_BATCHES = tuple(f'data_batch_{i}' for i in range(1, 6))
_BINARIES = tuple(f'{name}.bin' for name in _BATCHES)
VERSIONS = {
  'cifar10': (
    Version('cifar-10-batches-bin', _BINARIES, 'test_batch.bin', _binary(1)),
    Version('cifar-10-batches-py', _BATCHES, 'test_batch', _python(b'labels')),
  ),
  'cifar100': (
    Version('cifar-100-binary', ('train.bin',), 'test.bin', _binary(2)),
    Version('cifar-100-python', ('train',), 'test', _python(b'fine_labels')),
  ),
}


def find(
  name: str, folder: pathlib.Path
) -> tuple[Version, pathlib.Path] | None:
  """Returns the version in a folder and its path; `None` if there is none.

  Args:
    name: `cifar10` or `cifar100`.
    folder: holds the files, or the folder that the archive unpacks to.
  """
  for version in VERSIONS.get(name, ()):
    for place in (folder / version.folder, folder):
      names = (*version.train, version.test)
      if any((place / name).is_file() for name in names):
        return version, place
  return None


def read(version: Version, folder: pathlib.Path) -> Arrays:
  """Returns the arrays of a folder of one version.

  Raises:
    DataError: a file is missing or damaged.
  """

  def one(name: str) -> tuple[np.ndarray, np.ndarray]:
    path = folder / name
    try:
      x, y = version.read(path)
    except OSError as error:
      raise DataError(f"'{path}': {error.strerror}.") from error
    return x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), y

  parts = [one(name) for name in version.train]
  x_test, y_test = one(version.test)
  return Arrays(
    np.concatenate([x for x, _ in parts]),
    np.concatenate([y for _, y in parts]),
    np.ascontiguousarray(x_test),
    y_test,
  )
