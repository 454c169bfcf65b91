"""Channels: the normalization of images, in TensorFlow or NumPy."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Channels:
  """Normalization: (x / 255 - mean) / deviation, per channel.

  Args:
    mean: of the training set's pixels, in [0, 1].
    deviation: their standard deviation.
  """

  mean: Sequence[float]
  deviation: Sequence[float]

  def normalize(self, images: Any) -> Any:
    """Returns float32 tensors of mean 0 and deviation 1.

    Args:
      images: [n, height, width, channels], uint8 or floating in [0, 1].
    """
    import tensorflow as tf  # Here, because arrays need no TensorFlow.

    # On whole rows of pixels: operations on three channels are not vectorized.
    width, channels = images.shape[2:]
    rows = tf.reshape(
      tf.image.convert_image_dtype(images, tf.float32), [-1, width * channels]
    )
    mean, deviation = (
      tf.tile(tf.constant(values, tf.float32), [width])
      for values in (self.mean, self.deviation)
    )
    normal = tf.reshape((rows - mean) / deviation, tf.shape(images))
    return tf.ensure_shape(normal, images.shape)

  def normalize_arrays(self, images: np.ndarray) -> np.ndarray:
    """Returns float32 arrays of mean 0 and deviation 1.

    Args:
      images: as of `normalize`.

    >>> Channels((0.5,), (0.25,)).normalize_arrays(np.full((1, 1, 1, 1), 255))
    array([[[[2.]]]], dtype=float32)
    """
    scale = 1 / 255 if np.issubdtype(images.dtype, np.integer) else 1.0
    mean, deviation = (
      np.asarray(values, np.float32) for values in (self.mean, self.deviation)
    )
    scaled = images.astype(np.float32) * np.float32(scale)
    return (scaled - mean) / deviation
