"""Data sets, split into training, validation and test."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from recipes.data.arrays import DataError as DataError
from recipes.data.arrays import Parts

# For data sets without a test set.
_TEST_FRACTION = 0.2


class Batches(Protocol):
  """Batches in order: a `tf.data.Dataset`, or an `ArrayBatches`."""

  def __iter__(self) -> Any:
    """Yields all of them once."""

  def repeat(self) -> Any:
    """Returns the batches so that each evaluation begins anew."""


class Split(Protocol):
  """One part of a data set."""

  @property
  def examples(self) -> int:
    """How many images there are."""

  def epochs(
    self, batch_size: int, seed: int, first_epoch: int, epochs: int
  ) -> Any:
    """Returns shuffled batches (images, labels) of some epochs of training.

    Epochs `first_epoch` to `epochs` - 1 come one after the other, with
    ceil(examples / batch_size) batches each. Order and augmentation are
    functions of (seed, epoch, step) alone.
    """

  def batches(self, batch_size: int) -> Batches:
    """Returns all (images, labels) once, in order and not augmented."""

  def check(self) -> None:
    """Decodes all images that are not in memory.

    Raises:
      DataError: an image cannot be decoded; the message names it.
    """


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Images and integer labels, split into training, validation and test.

  Args:
    name: for tables and files.
    classes: how many labels there are.
    image_shape: height, width, channels, as the model takes them.
    train: for training.
    validation: cut from the training set.
    test: the official test set, where there is one.
    class_names: of the labels, in their order; empty where they have none.
  """

  name: str
  classes: int
  image_shape: tuple[int, ...]
  train: Split
  validation: Split
  test: Split
  class_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class DataOptions:
  """The options of a data set, as a user gives them.

  Args:
    data_dir: where it lies; `None` for what comes with a library.
    validation_fraction: of the training set, in (0, 1).
    seed: of the validation split, in [0, 2^32).
    train_examples: how many images of what the split leaves; `None` for all.
    download: whether Keras or TFDS may fetch what is not there.
    as_arrays: whether images in memory come as NumPy arrays, which every
      backend of Keras 3 takes, in place of tensors of TensorFlow.
  """

  data_dir: str | None = None
  validation_fraction: float = 0.15
  seed: int = 0
  train_examples: int | None = None
  download: bool = False
  as_arrays: bool = False


def assembled(
  name: str,
  classes: int,
  image_shape: tuple[int, ...],
  parts: Parts,
  options: DataOptions,
  split: Callable[[np.ndarray], Split],
) -> Dataset:
  """Returns a data set, split as the options say.

  Without a test set, a fifth of the images becomes one, the same for each seed.
  Without a validation set, `validation_fraction` of the training images becomes
  one, drawn with the seed.

  Args:
    name: for tables and files.
    classes: how many labels there are.
    image_shape: height, width, channels, as the model takes them.
    parts: as the data set is distributed.
    options: what the user asks for.
    split: returns a part, given its indices.

  Raises:
    DataError: there are too few images for the options.
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
  """Returns the number of images of a fraction.

  Raises:
    DataError: it is 0, or all images.
  """
  count = round(fraction * images)
  if not 0 < count < images:
    raise DataError(
      f'{fraction} of {images} images leaves a part without images.'
    )
  return count


def training_count(images: int, options: DataOptions) -> int:
  """Returns the number of training images.

  Args:
    images: how many are available.
    options: what the user asks for.

  Raises:
    DataError: the options ask for more images than there are.
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
  """Returns two shuffled parts, the second with a fraction of the indices."""
  count = share_of(len(indices), fraction)
  order = np.random.default_rng(seed).permutation(len(indices))
  return indices[order[count:]], indices[order[:count]]
