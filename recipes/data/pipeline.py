"""Input pipelines: shuffled, augmented, parallel, prefetched.

Order and augmentation are functions of (seed, epoch, step) alone, so a run that
is resumed at epoch k sees the same batches as an uninterrupted run.
"""

import abc
import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.data.augmentation import Transform

Key = Any  # int64 [2], the seed of a stateless random operation.


class Purpose(enum.IntEnum):
  """The purpose of a random number; each purpose has its own stream."""

  ORDER = 0
  AUGMENTATION = 1


def key(purpose: Purpose, seed: int, epoch: Any, step: Any) -> Key:
  """Returns the key of a stateless random operation.

  Args:
    purpose: which stream.
    seed: of the run, in [0, 2^32).
    epoch: scalar int64, from 0.
    step: scalar int64 in its epoch, from 0.
  """
  first = tf.constant((int(purpose) << 32) + seed, tf.int64)
  return tf.stack([first, epoch * 2**32 + step])


def parallel(
  dataset: tf.data.Dataset, function: Callable[..., Any]
) -> tf.data.Dataset:
  """Returns a data set mapped in parallel, in order, and prefetched.

  It uses all cores. TensorFlow's autotuning is off: the end of `fit` waits for
  its thread, which sleeps for up to a minute.
  """
  mapped = dataset.map(function, tf.data.AUTOTUNE, deterministic=True)
  options = tf.data.Options()
  options.autotune.enabled = False
  return mapped.prefetch(tf.data.AUTOTUNE).with_options(options)


def _shuffled(
  indices: np.ndarray, batch_size: int, seed: int, first: int, last: int
) -> tf.data.Dataset:
  """Returns (epoch, step, indices) of the batches of epochs [first, last)."""
  steps = -(-len(indices) // batch_size)

  def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
    noise = tf.random.stateless_uniform(
      [len(indices)], key(Purpose.ORDER, seed, epoch, 0), None, None, tf.int64
    )
    shuffled = tf.gather(indices, tf.argsort(noise, stable=True))

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
      begin = step * batch_size
      return epoch, step, shuffled[begin : begin + batch_size]

    return tf.data.Dataset.range(steps).map(batch)

  return tf.data.Dataset.range(first, last).flat_map(of_epoch)


class IndexedSplit(abc.ABC):
  """A split of a data set with random access to its images.

  Args:
    indices: which images are in this part, in the order of evaluation.
  """

  def __init__(self, indices: np.ndarray):
    self._indices = np.asarray(indices, np.int64)

  @property
  def examples(self) -> int:
    """How many images there are."""
    return len(self._indices)

  def epochs(
    self, batch_size: int, seed: int, first_epoch: int, epochs: int
  ) -> tf.data.Dataset:
    """Returns the batches (images, labels) of some epochs of training.

    Each epoch has ceil(examples / batch_size) of them.

    Args:
      batch_size: images in a batch.
      seed: of order and augmentation, in [0, 2^32).
      first_epoch: where to begin, from 0.
      epochs: where to end, exclusive.
    """

    def batch(epoch: Any, step: Any, indices: Any) -> tuple[Any, Any]:
      return self._training_batch(
        indices, key(Purpose.AUGMENTATION, seed, epoch, step)
      )

    batches = _shuffled(self._indices, batch_size, seed, first_epoch, epochs)
    return parallel(batches, batch)

  def batches(self, batch_size: int) -> tf.data.Dataset:
    """Returns all (images, labels) in order, as they are evaluated."""
    indices = tf.data.Dataset.from_tensor_slices(self._indices)
    return parallel(indices.batch(batch_size), self._evaluation_batch)

  @abc.abstractmethod
  def check(self) -> None:
    """Raises a `DataError` for a damaged image that is not in memory."""

  @abc.abstractmethod
  def _training_batch(self, indices: Any, key: Key) -> tuple[Any, Any]:
    """Returns augmented images, and labels."""

  @abc.abstractmethod
  def _evaluation_batch(self, indices: Any) -> tuple[Any, Any]:
    """Returns images without augmentation, and labels."""


class ArraySplit(IndexedSplit):
  """A split of a data set whose images are in memory.

  Args:
    images: [n, height, width, channels]; uint8 takes the least memory.
    labels: integers [n].
    indices: which of them are in this part, in the order of evaluation.
    transform: of a batch.
  """

  def __init__(
    self,
    images: tf.Tensor,
    labels: tf.Tensor,
    indices: np.ndarray,
    transform: Transform,
  ):
    super().__init__(indices)
    self._images, self._labels = images, labels
    self._transform = transform

  def check(self) -> None:
    """Does nothing: the images are decoded already."""

  def _training_batch(self, indices: Any, key: Key) -> tuple[Any, Any]:
    images = tf.gather(self._images, indices)
    return self._transform.train(images, key), tf.gather(self._labels, indices)

  def _evaluation_batch(self, indices: Any) -> tuple[Any, Any]:
    images = tf.gather(self._images, indices)
    return self._transform.evaluate(images), tf.gather(self._labels, indices)


def on_host(array: np.ndarray) -> tf.Tensor:
  """Returns a tensor in the main memory, not on a GPU."""
  with tf.device('/CPU:0'):
    return tf.convert_to_tensor(array)
