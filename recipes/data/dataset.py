"""The data of the recipes, split into training, validation and test."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf

from recipes.data.arrays import DataError as DataError
from recipes.data.arrays import Parts

# Where a data set has no test set of its own.
_TEST_FRACTION = 0.2


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
class DataOptions:
  """The options of a data set, as a user gives them.

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


def assembled(
  name: str,
  classes: int,
  image_shape: tuple[int, ...],
  parts: Parts,
  options: DataOptions,
  split: Callable[[np.ndarray], Split],
) -> Dataset:
  """Returns a data set, cut as a user asks for it.

  Where there is no test set, a fifth is put aside, the same for every seed.
  Where there is no validation set, `validation_fraction` of what is for
  training becomes one, as the seed draws it.

  Args:
    name: for tables and files.
    classes: how many labels there are.
    image_shape: height, width, channels, as the model takes them.
    parts: as the data set is distributed.
    options: what the user asks for.
    split: returns a part, given its indices.

  Raises:
    DataError: there are too few images for what is asked.
  """
  train, validation, test = parts.train, parts.validation, parts.test
  if test is None:
    train, test = _cut(train, _TEST_FRACTION, seed=0)
  if validation is None:
    train, validation = _cut(train, options.validation_fraction, options.seed)
  elif options.train_examples is not None:
    order = np.random.default_rng(options.seed).permutation(len(train))
    train = train[order]
  count = training_count(len(train), options)
  return Dataset(
    name,
    classes,
    image_shape,
    train=split(train[:count]),
    validation=split(validation),
    test=split(test),
  )


def share_of(images: int, fraction: float) -> int:
  """Returns how many images a fraction of them is.

  Raises:
    DataError: that is none, or all.
  """
  count = round(fraction * images)
  if not 0 < count < images:
    raise DataError(
      f'{fraction} of {images} images leaves a part without images.'
    )
  return count


def training_count(images: int, options: DataOptions) -> int:
  """Returns how many of the images left for training are trained on.

  Raises:
    DataError: there are not as many as are asked for.
  """
  count = options.train_examples
  if count is None:
    return images
  if not 0 < count <= images:
    raise DataError(
      f'train_examples must be from 1 to {images}, the images left for '
      f'training, but is {count}.'
    )
  return count


def _cut(
  indices: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns two parts, shuffled, the second with `fraction` of all."""
  count = share_of(len(indices), fraction)
  order = np.random.default_rng(seed).permutation(len(indices))
  return indices[order[count:]], indices[order[:count]]
