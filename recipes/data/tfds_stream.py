"""Streams images that TFDS has prepared and that do not fit in memory.

Files are read in a random order, and their records shuffled in a buffer. TFDS
has also shuffled all records once, when it prepared them.
"""

import functools
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.data import image_decoding, pipeline
from recipes.data.arrays import DataError
from recipes.data.augmentation import Channels
from recipes.data.dataset import DataOptions, Dataset, share_of, training_count
from recipes.data.formats import tfds

# Size of the shuffle buffer, in encoded images.
_BUFFER = 4096


class StreamedSplit:
  """A split of encoded images that TFDS has prepared.

  Args:
    builder: of TFDS.
    split: in TFDS's words, such as `train[:100]+train[200:]`.
    channels: for normalization.
    size: height and width of what the model takes.
  """

  def __init__(self, builder: Any, split: str, channels: Channels, size: int):
    self._builder, self._split = builder, split
    self._crops = image_decoding.cropped(channels, size, read=tf.identity)

  @property
  def examples(self) -> int:
    """How many images there are."""
    return int(self._builder.info.splits[self._split].num_examples)

  def epochs(
    self, batch_size: int, seed: int, first_epoch: int, epochs: int
  ) -> tf.data.Dataset:
    """Returns shuffled batches (images, labels) of some epochs of training.

    Args:
      batch_size: images in a batch.
      seed: of order and augmentation, in [0, 2^32).
      first_epoch: where to begin, from 0.
      epochs: where to end, exclusive.
    """

    def batch(epoch: Any, step: Any, images: Any, labels: Any) -> Any:
      of_step = pipeline.key(pipeline.Purpose.AUGMENTATION, seed, epoch, step)
      return self._crops.train(images, of_step), labels

    each = [
      self._epoch(batch_size, seed, epoch)
      for epoch in range(first_epoch, epochs)
    ]
    records = functools.reduce(lambda a, b: a.concatenate(b), each)
    return pipeline.parallel(records, batch)

  def _epoch(self, batch_size: int, seed: int, epoch: int) -> tf.data.Dataset:
    """Returns batches (epoch, step, encoded images, labels)."""
    state = np.random.SeedSequence((seed, epoch)).generate_state(1)
    shuffle_seed = int(state[0])
    records = self._records(shuffle_seed).shuffle(
      _BUFFER, shuffle_seed, reshuffle_each_iteration=False
    )

    def numbered(step: Any, record: tuple[Any, Any]) -> tuple[Any, ...]:
      return tf.constant(epoch, tf.int64), step, *record

    return records.batch(batch_size).enumerate().map(numbered)

  def batches(self, batch_size: int) -> tf.data.Dataset:
    """Returns all (images, labels) in order, as they are evaluated."""
    return pipeline.parallel(
      self._records(None).batch(batch_size),
      lambda images, labels: (self._crops.evaluate(images), labels),
    )

  def check(self) -> None:
    """Decodes each image.

    Raises:
      DataError: one cannot be decoded, or its file is damaged.
    """
    try:
      for _ in self.batches(64):
        pass
    except tf.errors.OpError as error:
      raise DataError(
        f"'{self._builder.data_dir}', {self._split}: an image cannot be "
        f'decoded: {error.message.splitlines()[0]}'
      ) from error

  def _records(self, shuffle_seed: int | None) -> tf.data.Dataset:
    """Returns (encoded image, label), in order where there is no seed."""
    import tensorflow_datasets as tfds  # It made the builder.

    records = self._builder.as_dataset(
      self._split,
      decoders={'image': tfds.decode.SkipDecoding()},
      shuffle_files=shuffle_seed is not None,
      read_config=tfds.ReadConfig(
        shuffle_seed=shuffle_seed, try_autocache=False
      ),
    )
    return records.map(lambda record: (record['image'], record['label']))


def load(
  folder: pathlib.Path,
  name: str,
  test: str,
  channels: Channels,
  size: int,
  options: DataOptions,
) -> Dataset:
  """Returns a data set whose splits are streamed.

  The validation images are contiguous on disk; the seed draws their beginning.

  Args:
    folder: of the prepared builder.
    name: for tables and files.
    test: the split that is for last.
    channels: for normalization.
    size: height and width of what the model takes.
    options: what the user asks for.

  Raises:
    DataError: a split is missing, or has too few images for the options.
  """
  builder = tfds.builder(folder)
  for split in ('train', test):
    if split not in builder.info.splits:
      raise DataError(f"'{folder}' has no split {split!r}.")
  total = int(builder.info.splits['train'].num_examples)
  held = share_of(total, options.validation_fraction)
  count = training_count(total - held, options)
  begin = int(np.random.default_rng(options.seed).integers(total))

  def part(split: str) -> StreamedSplit:
    return StreamedSplit(builder, split, channels, size)

  return Dataset(
    name,
    builder.info.features['label'].num_classes,
    (size, size, 3),
    train=part(_slices('train', begin + held, count, total)),
    validation=part(_slices('train', begin, held, total)),
    test=part(test),
  )


def _slices(split: str, begin: int, count: int, total: int) -> str:
  """Returns the slices of `count` images from `begin` on, cyclically."""
  begin %= total
  end = begin + count
  parts = [(begin, min(end, total)), (0, max(0, end - total))]
  return '+'.join(f'{split}[{a}:{b}]' for a, b in parts if a < b)
