"""Images and labels as arrays, and what is asked of them."""

import dataclasses

import numpy as np


class DataError(ValueError):
  """Data that is missing, damaged or of a wrong form; one line says what."""


@dataclasses.dataclass(frozen=True)
class Arrays:
  """A data set as it was read, before the validation split.

  Args:
    x_train: images, uint8 [n, height, width, channels].
    y_train: labels, integers [n].
    x_test: images as in `x_train`.
    y_test: labels as in `y_train`.
  """

  x_train: np.ndarray
  y_train: np.ndarray
  x_test: np.ndarray
  y_test: np.ndarray
