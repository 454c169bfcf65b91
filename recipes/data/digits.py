"""scikit-learn's digits, which need no download."""

import numpy as np

from recipes.data import augmentation, pipeline
from recipes.data.arrays import Parts
from recipes.data.dataset import DataOptions, Dataset, assembled


def digits(options: DataOptions) -> Dataset:
  """scikit-learn's digits: 1,797 images of 8x8, in the wheel itself.

  They have no official test set. Pixels are in [0, 1] and not normalized.
  """
  import sklearn.datasets  # Slow to import, and an extra.

  bundle = sklearn.datasets.load_digits()
  x = (bundle.images / 16).astype(np.float32)[..., np.newaxis]
  images, labels = map(pipeline.on_host, (x, bundle.target.astype(np.int64)))
  return assembled(
    'digits',
    classes=10,
    image_shape=x.shape[1:],
    parts=Parts(np.arange(len(x)), None, None),
    options=options,
    split=lambda indices: pipeline.ArraySplit(
      images, labels, indices, augmentation.UNCHANGED
    ),
  )
