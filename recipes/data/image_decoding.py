"""Decodes images, or the parts of them that are needed, in the graph."""

import struct
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from recipes.data import augmentation


def decode(content: Any, channels: int) -> Any:
  """Returns uint8 [height, width, channels]; the first frame of animations."""
  return tf.image.decode_image(content, channels, expand_animations=False)


def claimed_size(content: bytes) -> tuple[int, int]:
  """Returns the height and width in the header of an image, (0, 0) if none.

  Args:
    content: of the file.

  Raises:
    tf.errors.InvalidArgumentError: it begins as a JPEG file, but is damaged.
  """
  if content[:8] == b'\x89PNG\r\n\x1a\n':
    width, height = struct.unpack('>II', content[16:24].ljust(8, b'\0'))
  elif content[:3] == b'GIF':
    width, height = struct.unpack('<HH', content[6:10].ljust(4, b'\0'))
  elif content[:2] == b'BM':
    width, height = struct.unpack('<ii', content[18:26].ljust(8, b'\0'))
  elif content[:3] == b'\xff\xd8\xff':
    height, width = map(int, tf.io.extract_jpeg_shape(content)[:2])
  else:
    return 0, 0
  return abs(height), abs(width)


def cropped(
  channels: augmentation.Channels, size: int, read: Callable[[Any], Any]
) -> augmentation.Transform:
  """Returns random resized crops for training, the centre for evaluation.

  It decodes images, which may differ in size (Szegedy et al. 2015).

  Args:
    channels: for normalization.
    size: height and width of what the model takes.
    read: from one element of a batch to the content of an image file.
  """

  def train(batch: Any, key: Any) -> Any:
    def one(item: tuple[Any, Any]) -> Any:
      content = read(item[0])
      box = augmentation.crop_boxes(item[1], *tf.unstack(_size(content)))
      part = decode_part(content, box)
      mirrored = augmentation.is_mirrored(item[1])
      part = tf.cond(mirrored, lambda: tf.reverse(part, [1]), lambda: part)
      return _resized(part, size)

    noise = augmentation.crop_noise(key, tf.size(batch))
    return channels.normalize(_each(one, (batch, tf.transpose(noise)), size))

  def evaluate(batch: Any) -> Any:
    def one(item: tuple[Any]) -> Any:
      content = read(item[0])
      sides = tf.cast(_size(content), tf.float32)
      side = tf.round(augmentation.CENTRAL * tf.reduce_min(sides))
      top, left = tf.unstack(tf.floor((sides - side) / 2))
      box = (top, left, top + side - 1, left + side - 1)
      return _resized(decode_part(content, box), size)

    return channels.normalize(_each(one, (batch,), size))

  return augmentation.Transform(train, evaluate)


def _each(one: Callable[[Any], Any], items: tuple[Any, ...], size: int) -> Any:
  shape = tf.TensorSpec((size, size, 3), tf.float32)
  return tf.map_fn(one, items, fn_output_signature=shape)


def _size(content: Any) -> Any:
  """Returns height and width of an image, int32 [2]."""
  return tf.cond(
    tf.io.is_jpeg(content),
    lambda: tf.io.extract_jpeg_shape(content)[:2],
    lambda: tf.shape(decode(content, 3))[:2],
  )


def decode_part(content: Any, box: tuple[Any, ...]) -> Any:
  """Returns a part of an image, uint8 [height, width, 3].

  Args:
    content: of the file.
    box: top, left, bottom, right of the first and the last pixel.
  """
  top, left, bottom, right = (tf.cast(side, tf.int32) for side in box)
  window = tf.stack([top, left, bottom - top + 1, right - left + 1])
  return tf.cond(
    tf.io.is_jpeg(content),
    # Does not decode the other parts.
    lambda: tf.image.decode_and_crop_jpeg(content, window, 3),
    lambda: decode(content, 3)[top : bottom + 1, left : right + 1],
  )


def _resized(part: Any, size: int) -> Any:
  """Returns an image in [0, 1]."""
  part = tf.ensure_shape(part, (None, None, 3))
  return tf.image.resize(part, (size, size)) / 255
