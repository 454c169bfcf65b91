"""Images in files: decoded into memory once, or each time they are read."""

import concurrent.futures
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.data import augmentation, image_decoding, pipeline
from recipes.data.arrays import DataError

# Decoded images up to this size are kept in memory.
FITS_BYTES = 2 * 2**30
# An image may be larger, decoded, if its file is not much smaller: a byte of a
# PNG file is at most 1032 bytes.
_LARGE_BYTES, _MAX_RATIO = 2**26, 1032


def fits(images: int, image_shape: Sequence[int]) -> bool:
  """Returns whether a number of uint8 images is kept in memory."""
  return images * math.prod(image_shape) <= FITS_BYTES


def read_exact(
  paths: Sequence[str], image_shape: tuple[int, ...]
) -> np.ndarray:
  """Returns images that all have one shape, uint8 [n, *image_shape].

  Raises:
    DataError: one cannot be decoded, or has another shape.
  """

  def read(path: str) -> np.ndarray:
    image = _decoded(path, image_shape[-1])
    if image.shape != image_shape:
      raise DataError(
        f"'{path}' must be of shape {list(image_shape)}, but is "
        f'{list(image.shape)}.'
      )
    return image.numpy()

  return _stacked(paths, image_shape, read)


def read_squares(paths: Sequence[str], size: int) -> np.ndarray:
  """Returns the middle of images, resized, uint8 [n, size, size, 3].

  Raises:
    DataError: one cannot be decoded.
  """

  def read(path: str) -> np.ndarray:
    image = _decoded(path, 3)
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    # With antialiasing, since it is resized once and read often.
    resized = tf.image.resize(square, (size, size), antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8).numpy()

  return _stacked(paths, (size, size, 3), read)


def _decoded(path: str, channels: int) -> Any:
  try:
    content = tf.io.read_file(path)
    _check_size(path, content.numpy(), channels)
    return image_decoding.decode(content, channels)
  except tf.errors.OpError as error:
    # Without the names of the operation and the device.
    reason = re.sub(r'{{.*?}} ?| \[Op:.*', '', error.message.splitlines()[0])
    raise DataError(
      f"'{path}' cannot be decoded: {reason.rstrip(' .')}. Remove it, or make "
      'it a JPEG or PNG file.'
    ) from error


def _check_size(path: str, content: bytes, channels: int) -> None:
  """Compares the size that an image claims with its file, before decoding."""
  height, width = image_decoding.claimed_size(content)
  unpacked = height * width * channels
  if unpacked > max(_LARGE_BYTES, _MAX_RATIO * len(content)):
    raise DataError(
      f"'{path}' cannot be decoded: it claims {height} x {width} pixels, too "
      f'many for a file of {len(content):,} bytes.'
    )


def _stacked(
  paths: Sequence[str],
  image_shape: tuple[int, ...],
  read: Callable[[str], np.ndarray],
) -> np.ndarray:
  images = np.empty((len(paths), *image_shape), np.uint8)

  def fill(position: int) -> None:
    images[position] = read(paths[position])

  _in_threads(fill, range(len(paths)))
  return images


def _in_threads(work: Callable[[Any], None], items: Sequence[Any]) -> None:
  """Calls `work` for each item; the first error ends it."""
  with (
    tf.device('/CPU:0'),
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
  ):
    try:
      for _ in pool.map(work, items):
        pass
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


class FileSplit(pipeline.IndexedSplit):
  """A split of a data set whose images are decoded each time they are read.

  In training a random part of an image is decoded and resized, and half of
  them are mirrored; in evaluation the centre is.

  Args:
    paths: of the images, strings [n].
    labels: integers [n].
    indices: which of them are in this part, in the order of evaluation.
    channels: for normalization.
    size: height and width of what the model takes.
  """

  def __init__(
    self,
    paths: tf.Tensor,
    labels: tf.Tensor,
    indices: np.ndarray,
    channels: augmentation.Channels,
    size: int,
  ):
    super().__init__(indices)
    self._paths, self._labels = paths, labels
    self._crops = image_decoding.cropped(channels, size, read=tf.io.read_file)

  def check(self) -> None:
    """Decodes each image.

    Raises:
      DataError: an image cannot be decoded; the message names it.
    """
    paths = [p.decode() for p in self._paths.numpy()[self._indices]]
    _in_threads(lambda path: _decoded(path, 3), paths)

  def _training_batch(self, indices: Any, key: pipeline.Key) -> tuple[Any, Any]:
    paths, labels = self._gather(indices)
    return self._crops.train(paths, key), labels

  def _evaluation_batch(self, indices: Any) -> tuple[Any, Any]:
    paths, labels = self._gather(indices)
    return self._crops.evaluate(paths), labels

  def _gather(self, indices: Any) -> tuple[Any, Any]:
    return tf.gather(self._paths, indices), tf.gather(self._labels, indices)
