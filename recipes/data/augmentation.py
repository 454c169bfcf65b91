"""Normalization and augmentation of batches of images, in the graph.

Keras's augmentation layers draw from a state that a resumed run would not
repeat. These functions are stateless: a batch's key alone, made of the seed,
the epoch and the step, determines its augmentation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from recipes.data.channels import Channels as Channels

# Fractions of the area, and ratios of width to height: Szegedy et al. (2015).
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
# The fraction of the shorter side that is used in evaluation: 224 of 256.
CENTRAL = 7 / 8


@dataclasses.dataclass(frozen=True)
class Transform:
  """Turns stored images into inputs of the model.

  Args:
    train: of (images, key), random; the key determines the result.
    evaluate: of images.
  """

  train: Callable[[Any, Any], Any]
  evaluate: Callable[[Any], Any]


UNCHANGED = Transform(train=lambda images, _: images, evaluate=tf.identity)


def plain(channels: Channels) -> Transform:
  """Returns a transform that only normalizes."""
  return Transform(
    train=lambda images, _: channels.normalize(images),
    evaluate=channels.normalize,
  )


def shifted(channels: Channels, padding: int, flip: bool = True) -> Transform:
  """Returns random crops of padded images, half of them flipped.

  As He et al. (2016) on CIFAR, but padded with black.

  Args:
    channels: for normalization.
    padding: pixels on each side.
    flip: whether images are mirrored at random.
  """

  def train(images: Any, key: Any) -> Any:
    return channels.normalize(shift_and_flip(images, key, padding, flip))

  return Transform(train, channels.normalize)


def shift_and_flip(images: Any, key: Any, padding: int, flip: bool) -> Any:
  """Returns images shifted by up to `padding` pixels, half of them mirrored.

  Args:
    images: [n, height, width, channels].
    key: int64 [2].
    padding: pixels on each side, black.
    flip: whether images are mirrored at random.
  """
  count = tf.shape(images)[0]
  height, width = images.shape[1:3]
  draws = tf.random.stateless_uniform(
    [2, count], key, 0, 2 * padding + 1, tf.int32
  )
  rows = draws[0][:, tf.newaxis] + tf.range(height)
  columns = tf.tile(tf.range(width)[tf.newaxis], [count, 1])
  if flip:
    mirrored = _coins(key, count)[:, tf.newaxis]
    columns = tf.where(mirrored, width - 1 - columns, columns)
  columns += draws[1][:, tf.newaxis]
  sides = [padding, padding]
  padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
  cut = tf.gather(padded, rows, axis=1, batch_dims=1)
  return tf.gather(cut, columns, axis=2, batch_dims=1)


def _coins(key: Any, count: Any) -> Any:
  """Returns random booleans, from a key of their own.

  The second number of other keys is at least 0; here it is below.
  """
  beside = tf.stack([key[0], -1 - key[1]])
  return tf.random.stateless_uniform([count], beside) < 0.5


def resized(channels: Channels, size: int) -> Transform:
  """Returns random resized crops for training, the centre for evaluation.

  As Szegedy et al. (2015) on ImageNet.

  Args:
    channels: for normalization.
    size: height and width of what the model takes; images are size / CENTRAL
      high and wide, or larger.
  """

  def train(images: Any, key: Any) -> Any:
    count, height, width = tf.unstack(tf.shape(images)[:3])
    noise = crop_noise(key, count)
    top, left, bottom, right = crop_boxes(noise, height, width)
    mirrored = is_mirrored(noise)
    # A box with exchanged left and right is cropped mirrored.
    x1, x2 = (
      tf.where(mirrored, a, b) for a, b in ((right, left), (left, right))
    )
    boxes = tf.stack(
      [
        _share(top, height),
        _share(x1, width),
        _share(bottom, height),
        _share(x2, width),
      ],
      axis=1,
    )
    cut = tf.image.crop_and_resize(images, boxes, tf.range(count), [size, size])
    return channels.normalize(cut / 255)

  def evaluate(images: Any) -> Any:
    top, left = (
      (side - size) // 2 for side in tf.unstack(tf.shape(images)[1:3])
    )
    cut = tf.image.crop_to_bounding_box(images, top, left, size, size)
    return channels.normalize(tf.ensure_shape(cut, (None, size, size, None)))

  return Transform(train, evaluate)


def _share(pixel: Any, side: Any) -> Any:
  """Returns the position of a pixel, between 0 (first) and 1 (last).

  Both are excluded: rounding could put them outside, where images are black.
  """
  share = pixel / tf.cast(tf.maximum(side - 1, 1), tf.float32)
  return tf.clip_by_value(share, 1e-5, 1 - 1e-5)


def crop_noise(key: Any, count: Any) -> Any:
  """Returns the random numbers of `count` crops, [5, count] in [0, 1)."""
  return tf.random.stateless_uniform([5, count], key)


def is_mirrored(noise: Any) -> Any:
  """Returns whether an image is mirrored, from its `crop_noise`."""
  return noise[4] < 0.5


def crop_boxes(noise: Any, height: Any, width: Any) -> tuple[Any, ...]:
  """Returns top, left, bottom, right in pixels, of the first and last pixel.

  The area is uniform in a range of shares of the image's, width by height
  log-uniform; what does not fit is cut to the image.

  Args:
    noise: [5, ...], of `crop_noise`.
    height: of the images, integers that broadcast.
    width: of the images, integers that broadcast.
  """
  height, width = (tf.cast(side, tf.float32) for side in (height, width))
  area = height * width * (_AREA[0] + noise[0] * (_AREA[1] - _AREA[0]))
  low, high = (tf.math.log(ratio) for ratio in _RATIO)
  ratio = tf.exp(low + noise[1] * (high - low))
  box_height = tf.clip_by_value(tf.round(tf.sqrt(area / ratio)), 1, height)
  box_width = tf.clip_by_value(tf.round(tf.sqrt(area * ratio)), 1, width)
  top = tf.floor(noise[2] * (height - box_height + 1))
  left = tf.floor(noise[3] * (width - box_width + 1))
  return top, left, top + box_height - 1, left + box_width - 1
