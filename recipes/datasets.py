"""The data of the recipes, split into training, validation and test."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Images as float32 in [0, 1] and integer labels; the test set is for last.

  Args:
    name: for tables and files.
    train: images and labels.
    validation: images and labels, cut from the training set.
    test: images and labels.
    classes: how many labels there are.
  """

  name: str
  train: tuple[np.ndarray, np.ndarray]
  validation: tuple[np.ndarray, np.ndarray]
  test: tuple[np.ndarray, np.ndarray]
  classes: int


def split(
  x: np.ndarray, y: np.ndarray, fraction: float, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
  """Returns (x, y) in two parts, the second with `fraction` of it."""
  order = np.random.default_rng(seed).permutation(len(x))
  count = round(fraction * len(x))
  first, second = order[count:], order[:count]
  return (x[first], y[first]), (x[second], y[second])


def digits(validation_fraction: float, seed: int) -> Dataset:
  """scikit-learn's digits: 1,797 images of 8x8, in the wheel itself.

  They have no official test set: a fifth of them is put aside, the same fifth
  for every seed.
  """
  import sklearn.datasets  # Slow to import, and an extra.

  bundle = sklearn.datasets.load_digits()
  x = (bundle.images / 16).astype(np.float32)[..., np.newaxis]
  y = bundle.target.astype(np.int64)
  rest, test = split(x, y, fraction=0.2, seed=0)
  train, validation = split(*rest, validation_fraction, seed)
  return Dataset('digits', train, validation, test, classes=10)
