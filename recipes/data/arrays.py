"""Images and labels as arrays, and their checks."""

import dataclasses
import pathlib

import numpy as np

# Images are not compressed to less; files made to fill the memory are.
MAX_RATIO, _SMALL = 200, 2**20


class DataError(ValueError):
  """Data is missing, damaged or of a wrong form; the message is one line."""


def reason(error: BaseException) -> str:
  """Returns the first line of an error's message, or its class."""
  lines = str(error).splitlines()
  return lines[0] if lines else type(error).__name__


def check_unpacked(
  name: str, unpacked: int, path: pathlib.Path, stored: int
) -> None:
  """Checks what a compressed file says of its size, before it is unpacked.

  Args:
    name: what is unpacked, for messages.
    unpacked: its bytes, as the file says.
    path: of the file.
    stored: the bytes of the file.

  Raises:
    DataError: it is more than `MAX_RATIO` times the file, which no images are.
  """
  if unpacked > MAX_RATIO * stored + _SMALL:
    raise DataError(
      f"'{path}': {name} claims {unpacked:,} bytes, more than {MAX_RATIO} "
      f'times the {stored:,} bytes of the file.'
    )


@dataclasses.dataclass(frozen=True)
class Parts:
  """The split of a data set, as it is distributed.

  Args:
    train: indices of those for training, and for validation where that is
      `None`.
    validation: indices, `None` where there is no such part.
    test: indices, `None` where there is no such part.
  """

  train: np.ndarray
  validation: np.ndarray | None
  test: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Arrays:
  """A data set before the validation split.

  Args:
    x_train: images, [n, height, width, channels] or, with one channel,
      [n, height, width]; uint8, or floating and in [0, 1].
    y_train: labels, integers [n] or [n, 1].
    x_test: images as in `x_train`.
    y_test: labels as in `y_train`.
  """

  x_train: np.ndarray
  y_train: np.ndarray
  x_test: np.ndarray
  y_test: np.ndarray


def checked(
  arrays: Arrays,
  image_shape: tuple[int, ...],
  classes: int,
  source: pathlib.Path,
) -> Arrays:
  """Returns arrays in one form: [n, *image_shape] and int64 [n].

  Args:
    arrays: as a file has them.
    image_shape: height, width, channels.
    classes: labels are from 0 to this, exclusive.
    source: the file or folder, for messages.

  Raises:
    DataError: something is not as `Arrays` says.
  """
  x_train = _images(arrays.x_train, 'x_train', image_shape, source)
  x_test = _images(arrays.x_test, 'x_test', image_shape, source)
  return Arrays(
    x_train,
    _labels(arrays.y_train, 'y_train', len(x_train), classes, source),
    x_test,
    _labels(arrays.y_test, 'y_test', len(x_test), classes, source),
  )


def _images(
  x: np.ndarray, name: str, image_shape: tuple[int, ...], source: pathlib.Path
) -> np.ndarray:
  shape = x.shape
  if image_shape[-1] == 1 and x.ndim == len(image_shape):
    x = x[..., np.newaxis]
  if x.ndim != len(image_shape) + 1 or x.shape[1:] != image_shape:
    wanted = ', '.join(map(str, image_shape))
    raise DataError(
      f"'{source}': {name} must be of shape [n, {wanted}], but is "
      f'{list(shape)}.'
    )
  if not len(x):
    raise DataError(f"'{source}': {name} has no images.")
  if x.dtype == np.uint8:
    return x
  if not np.issubdtype(x.dtype, np.floating):
    raise DataError(
      f"'{source}': {name} must be uint8, or floating and in [0, 1], but is "
      f'{x.dtype}.'
    )
  low, high = float(x.min()), float(x.max())
  if not (low >= 0 and high <= 1):  # So that NaN is refused.
    raise DataError(
      f"'{source}': {name}, which is floating, must be in [0, 1], but goes "
      f'from {low:g} to {high:g}.'
    )
  return x.astype(np.float32)


def _labels(
  y: np.ndarray, name: str, count: int, classes: int, source: pathlib.Path
) -> np.ndarray:
  if y.shape not in ((count,), (count, 1)):
    raise DataError(
      f"'{source}': {name} must be of shape [{count}], one label an image, but "
      f'is {list(y.shape)}.'
    )
  if not np.issubdtype(y.dtype, np.integer):
    raise DataError(f"'{source}': {name} must be integers, but is {y.dtype}.")
  y = y.reshape(-1)
  outside = y[(y < 0) | (y >= classes)]
  if len(outside):
    raise DataError(
      f"'{source}': {name} must be from 0 to {classes - 1}, but holds "
      f'{outside[0]}.'
    )
  return y.astype(np.int64)
