"""Input pipelines of images in memory: shuffled, augmented, prefetched.

Order and augmentation are functions of (seed, epoch, step) alone, so a run that
starts at epoch k sees what the run left alone would have seen from there on.
"""

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Key = Any  # int64 [2], the seed of a stateless random operation.
Augment = Callable[[tf.Tensor, Key], tf.Tensor]
Prepare = Callable[[tf.Tensor], tf.Tensor]


class Purpose(enum.IntEnum):
  """What a random number is for: each purpose has a stream of its own."""

  ORDER = 0
  AUGMENTATION = 1


def key(purpose: Purpose, seed: int, epoch: Any, step: Any) -> Key:
  """Returns the key of a stateless operation; its parts do not overlap.

  Args:
    purpose: which stream.
    seed: of the run, in [0, 2^32).
    epoch: scalar int64, from 0.
    step: scalar int64 in its epoch, from 0.
  """
  first = tf.constant((int(purpose) << 32) + seed, tf.int64)
  return tf.stack([first, epoch * 2**32 + step])


def shuffled_batches(
  examples: int, batch_size: int, seed: int, first_epoch: int, epochs: int
) -> tf.data.Dataset:
  """Returns (epoch, step, positions) of each batch of some epochs.

  The last batch of an epoch has what is left.

  Args:
    examples: how many positions there are to shuffle.
    batch_size: positions in a batch.
    seed: of the order.
    first_epoch: where to begin, from 0.
    epochs: where to end, exclusive.
  """
  steps = -(-examples // batch_size)

  def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
    noise = tf.random.stateless_uniform(
      [examples], key(Purpose.ORDER, seed, epoch, 0), None, None, tf.int64
    )
    order = tf.argsort(noise, stable=True)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
      begin = step * batch_size
      return epoch, step, order[begin : begin + batch_size]

    return tf.data.Dataset.range(steps).map(batch)

  return tf.data.Dataset.range(first_epoch, epochs).flat_map(of_epoch)


class ArraySplit:
  """One part of a data set whose images are all in memory.

  Args:
    images: [n, height, width, channels]; uint8 takes the least memory.
    labels: integers [n].
    indices: which of them are in this part, in the order of evaluation.
    prepare: from a batch of images to what the model takes.
    augment: from a batch of images and a key to such a batch, in training.
  """

  def __init__(
    self,
    images: tf.Tensor,
    labels: tf.Tensor,
    indices: np.ndarray,
    prepare: Prepare,
    augment: Augment | None = None,
  ):
    self._images, self._labels = images, labels
    self._indices = np.asarray(indices, np.int64)
    self._prepare, self._augment = prepare, augment

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

    def batch(epoch: Any, step: Any, positions: Any) -> tuple[Any, Any]:
      images, labels = self._gather(tf.gather(self._indices, positions))
      if self._augment is not None:
        of_step = key(Purpose.AUGMENTATION, seed, epoch, step)
        images = self._augment(images, of_step)
      return self._prepare(images), labels

    batches = shuffled_batches(
      self.examples, batch_size, seed, first_epoch, epochs
    )
    return _parallel(batches, batch)

  def batches(self, batch_size: int) -> tf.data.Dataset:
    """Returns all (images, labels) in order, as they are evaluated."""

    def batch(indices: tf.Tensor) -> tuple[Any, Any]:
      images, labels = self._gather(indices)
      return self._prepare(images), labels

    indices = tf.data.Dataset.from_tensor_slices(self._indices)
    return _parallel(indices.batch(batch_size), batch)

  def check(self) -> None:
    """Does nothing: what is in memory has been read."""

  def _gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.gather(self._images, indices), tf.gather(self._labels, indices)


def _parallel(
  dataset: tf.data.Dataset, function: Callable[..., Any]
) -> tf.data.Dataset:
  """Maps in parallel, in order, and ahead of what consumes it."""
  mapped = dataset.map(function, tf.data.AUTOTUNE, deterministic=True)
  return mapped.prefetch(tf.data.AUTOTUNE)


def on_host(array: np.ndarray) -> tf.Tensor:
  """Returns a tensor in the main memory, not on a GPU."""
  with tf.device('/CPU:0'):
    return tf.convert_to_tensor(array)
