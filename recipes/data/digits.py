"""scikit-learn's digits, which need no download."""

from collections.abc import Callable

import numpy as np

from recipes.data import array_batches
from recipes.data.arrays import Parts
from recipes.data.dataset import DataOptions, Dataset, Split, assembled


def digits(options: DataOptions) -> Dataset:
  """scikit-learn's digits: 1,797 images of 8x8, in the wheel itself.

  They have no official test set. Pixels are in [0, 1] and not normalized.
  """
  import sklearn.datasets  # Slow to import, and an extra.

  bundle = sklearn.datasets.load_digits()
  x = (bundle.images / 16).astype(np.float32)[..., np.newaxis]
  labels = bundle.target.astype(np.int64)
  return assembled(
    'digits',
    classes=10,
    image_shape=x.shape[1:],
    parts=Parts(np.arange(len(x)), None, None),
    options=options,
    split=_splitter(x, labels, options),
  )


def _splitter(
  images: np.ndarray, labels: np.ndarray, options: DataOptions
) -> Callable[[np.ndarray], Split]:
  """Returns a function from indices to a part of the data."""
  if options.as_arrays:
    return lambda indices: array_batches.ArraySplit(
      images, labels, indices, channels=None
    )
  from recipes.data import augmentation, pipeline  # They import TensorFlow.

  tensors = pipeline.on_host(images), pipeline.on_host(labels)
  return lambda indices: pipeline.ArraySplit(
    *tensors, indices, augmentation.UNCHANGED
  )
