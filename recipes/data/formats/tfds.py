"""Reads data sets that tensorflow_datasets (TFDS) has prepared."""

import pathlib
from typing import Any

import numpy as np

from recipes.data.arrays import Arrays, DataError, reason

_INFO = 'dataset_info.json'


def find(name: str, folder: pathlib.Path) -> pathlib.Path | None:
  """Returns the folder of a prepared builder, of the newest version.

  Args:
    name: of the builder.
    folder: what TFDS calls data_dir, or the folder of the builder.
  """
  for pattern in ('', f'{name}/*', f'{name}/*/*', '*'):
    found = [
      path.parent for path in folder.glob(f'{pattern}/{_INFO}'.lstrip('/'))
    ]
    if found:
      return max(found, key=_version)
  return None


def _version(folder: pathlib.Path) -> list[int]:
  return [int(n) if n.isdigit() else -1 for n in folder.name.split('.')]


def builder(folder: pathlib.Path) -> Any:
  """Returns the builder that prepared a folder.

  Raises:
    DataError: TFDS is not installed, or the folder is damaged.
  """
  try:
    import tensorflow_datasets as tfds  # No dependency: few have such folders.
  except ImportError as error:
    raise DataError(
      f"'{folder}' was prepared by TFDS; to read it, install "
      'tensorflow-datasets.'
    ) from error
  try:
    return tfds.builder_from_directory(str(folder))
  # TFDS raises various errors for damaged folders.
  except Exception as error:
    raise DataError(f"'{folder}' cannot be read: {reason(error)}") from error


def read(folder: pathlib.Path) -> Arrays:
  """Returns all images and labels of the splits `train` and `test`.

  Raises:
    DataError: they are not there, or damaged.
  """
  made = builder(folder)
  x_train, y_train = _split(made, 'train', folder)
  x_test, y_test = _split(made, 'test', folder)
  return Arrays(x_train, y_train, x_test, y_test)


def _split(
  made: Any, split: str, folder: pathlib.Path
) -> tuple[np.ndarray, np.ndarray]:
  if split not in made.info.splits:
    raise DataError(f"'{folder}' has no split {split!r}.")
  import tensorflow as tf  # Here, because `find` is called for all folders.

  images, labels = [], []
  try:
    batches = made.as_dataset(split, as_supervised=True).batch(1024)
    for x, y in batches.as_numpy_iterator():
      images.append(x)
      labels.append(y)
  except (tf.errors.OpError, ValueError, OSError) as error:
    raise DataError(f"'{folder}' cannot be read: {reason(error)}") from error
  if not images:
    raise DataError(f"'{folder}': split {split!r} is empty.")
  return np.concatenate(images), np.concatenate(labels)
