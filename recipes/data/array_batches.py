"""Batches of images in memory as NumPy arrays, for any backend of Keras 3.

They need no TensorFlow. As in `pipeline`, order and augmentation are functions
of (seed, epoch, step) alone, but their random numbers are NumPy's.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from recipes.data.channels import Channels

Batch = tuple[np.ndarray, np.ndarray]  # Images and labels.
# The purpose of a random number; each purpose has its own stream.
_ORDER, _AUGMENTATION = 0, 1


class ArrayBatches:
  """Batches that are computed from their positions alone.

  Keras reads some of them ahead and begins anew where it likes, which the state
  of a generator would not survive. `keras_classes.py_dataset` makes an input of
  Keras of it.

  Args:
    length: how many there are.
    batch: returns that of a position, from 0.
  """

  def __init__(self, length: int, batch: Callable[[int], Batch]):
    self._length, self._batch = length, batch

  def __len__(self) -> int:
    """Returns the number of batches."""
    return self._length

  def __getitem__(self, position: int) -> Batch:
    """Returns the batch of a position, from 0."""
    return self._batch(position)

  def __iter__(self) -> Iterator[Batch]:
    """Yields all batches once."""
    return map(self._batch, range(self._length))

  def repeat(self) -> 'ArrayBatches':
    """Returns the batches, which Keras begins anew by itself."""
    return self


class ArraySplit:
  """A split of a data set whose images are in memory.

  Args:
    images: [n, height, width, channels], uint8 or floating in [0, 1].
    labels: integers [n].
    indices: which of them are in this part, in the order of evaluation.
    channels: how images are normalized; `None` leaves them as they are.
    padding: pixels by which training images are shifted at most, and then
      half of them are mirrored; 0 for neither.
  """

  def __init__(
    self,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    channels: Channels | None,
    padding: int = 0,
  ):
    self._images, self._labels = images, labels
    self._indices = np.asarray(indices, np.int64)
    self._channels, self._padding = channels, padding

  @property
  def examples(self) -> int:
    """How many images there are."""
    return len(self._indices)

  def epochs(
    self, batch_size: int, seed: int, first_epoch: int, epochs: int
  ) -> ArrayBatches:
    """Returns the batches (images, labels) of some epochs of training.

    Each epoch has ceil(examples / batch_size) of them.

    Args:
      batch_size: images in a batch.
      seed: of order and augmentation, in [0, 2^32).
      first_epoch: where to begin, from 0.
      epochs: where to end, exclusive.
    """
    steps = -(-self.examples // batch_size)

    @functools.lru_cache(maxsize=2)  # Keras may read ahead.
    def order(epoch: int) -> np.ndarray:
      rng = np.random.default_rng([_ORDER, seed, epoch])
      return rng.permutation(self._indices)

    def batch(position: int) -> Batch:
      epoch, step = first_epoch + position // steps, position % steps
      chosen = order(epoch)[step * batch_size : (step + 1) * batch_size]
      rng = np.random.default_rng([_AUGMENTATION, seed, epoch, step])
      return self._augmented(self._images[chosen], rng), self._labels[chosen]

    return ArrayBatches(steps * (epochs - first_epoch), batch)

  def batches(self, batch_size: int) -> ArrayBatches:
    """Returns all (images, labels) in order, as they are evaluated."""

    def batch(position: int) -> Batch:
      begin = position * batch_size
      chosen = self._indices[begin : begin + batch_size]
      return self._normalized(self._images[chosen]), self._labels[chosen]

    return ArrayBatches(-(-self.examples // batch_size), batch)

  def check(self) -> None:
    """Does nothing: the images are decoded already."""

  def _augmented(
    self, images: np.ndarray, rng: np.random.Generator
  ) -> np.ndarray:
    if self._padding:
      images = shift_and_flip(images, rng, self._padding)
    return self._normalized(images)

  def _normalized(self, images: np.ndarray) -> np.ndarray:
    if self._channels is None:
      return images
    return self._channels.normalize_arrays(images)


def shift_and_flip(
  images: np.ndarray, rng: np.random.Generator, padding: int
) -> np.ndarray:
  """Returns images shifted by up to `padding` pixels, half of them mirrored.

  Args:
    images: [n, height, width, channels].
    rng: the random generator.
    padding: pixels on each side, black.
  """
  count, height, width = images.shape[:3]
  shifts = rng.integers(0, 2 * padding + 1, (2, count, 1))
  columns = np.tile(np.arange(width), (count, 1))
  mirrored = rng.random((count, 1)) < 0.5
  columns = np.where(mirrored, width - 1 - columns, columns) + shifts[1]
  rows = np.arange(height) + shifts[0]
  sides = (padding, padding)
  padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
  image = np.arange(count)[:, np.newaxis, np.newaxis]
  return padded[image, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
