"""The data of the recipes, split into training, validation and test."""

import dataclasses
from typing import Protocol

import numpy as np
import tensorflow as tf

from recipes import pipeline
from recipes.arrays import DataError as DataError


class Split(Protocol):
  """One part of a data set."""

  @property
  def examples(self) -> int:
    """How many images there are."""

  def epochs(
    self, batch_size: int, seed: int, first_epoch: int, epochs: int
  ) -> tf.data.Dataset:
    """Returns shuffled batches (images, labels) of some epochs of training.

    Epochs `first_epoch` to `epochs` - 1 come one after the other, with
    ceil(examples / batch_size) batches each. Order and augmentation are
    functions of (seed, epoch, step) alone.
    """

  def batches(self, batch_size: int) -> tf.data.Dataset:
    """Returns all (images, labels) once, in order and not augmented."""

  def check(self) -> None:
    """Looks at each image that is not in memory yet.

    Raises:
      DataError: it names the first that cannot be decoded.
    """


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Images and integer labels in three parts; the test set is for last.

  Args:
    name: for tables and files.
    classes: how many labels there are.
    image_shape: height, width, channels, as the model takes them.
    train: for training.
    validation: cut from the training set.
    test: the official test set, where there is one.
  """

  name: str
  classes: int
  image_shape: tuple[int, ...]
  train: Split
  validation: Split
  test: Split


@dataclasses.dataclass(frozen=True)
class Request:
  """What a user asks of the data.

  Args:
    data_dir: where it lies; `None` for what comes with a library.
    validation_fraction: of the training set, in (0, 1).
    seed: of the validation split, in [0, 2^32).
    train_examples: how many images of what the split leaves; `None` for all.
    download: whether Keras or TFDS may fetch what is not there.
  """

  data_dir: str | None = None
  validation_fraction: float = 0.15
  seed: int = 0
  train_examples: int | None = None
  download: bool = False


def cut(
  examples: int, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the indices of two parts, the second with `fraction` of all.

  Both are in an order that the seed draws.

  Raises:
    DataError: one of them would be empty.
  """
  count = round(fraction * examples)
  if not 0 < count < examples:
    raise DataError(
      f'validation_fraction={fraction} of {examples} images leaves one part '
      'without images.'
    )
  order = np.random.default_rng(seed).permutation(examples)
  return order[count:], order[:count]


def train_and_validation(
  examples: int, request: Request
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the indices of both parts, as a user asks for them.

  Raises:
    DataError: there are not that many images.
  """
  train, validation = cut(examples, request.validation_fraction, request.seed)
  count = request.train_examples
  if count is None:
    return train, validation
  if not 0 < count <= len(train):
    raise DataError(
      f'train_examples must be from 1 to {len(train)}, the training images '
      f'that the validation split leaves, but is {count}.'
    )
  return train[:count], validation


def digits(request: Request) -> Dataset:
  """scikit-learn's digits: 1,797 images of 8x8, in the wheel itself.

  They have no official test set: a fifth of them is put aside, the same fifth
  for every seed.
  """
  import sklearn.datasets  # Slow to import, and an extra.

  bundle = sklearn.datasets.load_digits()
  x = (bundle.images / 16).astype(np.float32)[..., np.newaxis]
  images, labels = pipeline.on_host(x), pipeline.on_host(bundle.target)
  rest, test = cut(len(x), fraction=0.2, seed=0)
  train, validation = train_and_validation(len(rest), request)

  def part(indices: np.ndarray) -> Split:
    return pipeline.ArraySplit(images, labels, indices, prepare=tf.identity)

  return Dataset(
    name='digits',
    classes=10,
    image_shape=x.shape[1:],
    train=part(rest[train]),
    validation=part(rest[validation]),
    test=part(test),
  )
