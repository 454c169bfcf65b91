"""The standard data sets of vision, loaded as `DataOptions` say."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from recipes.data import array_batches, readers
from recipes.data.arrays import DataError
from recipes.data.channels import Channels
from recipes.data.dataset import DataOptions, Dataset, Split, assembled
from recipes.data.formats import class_folders, tfds

# Statistics of the training images, published or in wide use.
_MNIST = Channels((0.1307,), (0.3081,))
_CIFAR10 = Channels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_CIFAR100 = Channels((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
_IMAGENET = Channels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class SmallImages:
  """A data set whose images all have one size and fit in memory.

  Args:
    name: of files and builders.
    classes: how many labels there are.
    image_shape: height, width, channels.
    channels: how images are normalized.
    padding: pixels by which training images are shifted at most, and then half
      of them are mirrored; 0 for neither.
    shrunk: by how much height and width are divided once they are read.
  """

  name: str
  classes: int
  image_shape: tuple[int, int, int]
  channels: Channels
  padding: int = 0
  shrunk: int = 1

  def load(self, options: DataOptions) -> Dataset:
    """Returns the data.

    Raises:
      DataError: it is missing, damaged, or too small for the options.
    """
    read = readers.read(
      self.name,
      self.image_shape,
      self.classes,
      options.data_dir,
      options.download,
    )
    name, shape = self.name, self.image_shape
    if self.shrunk > 1:
      read = dataclasses.replace(read, images=_shrink(read.images, self.shrunk))
      shape = read.images.shape[1:]
      name = f'{name} at {shape[0]}x{shape[1]}'
    split = self._splitter(read, options)
    return assembled(name, self.classes, shape, read.parts, options, split)

  def _splitter(
    self, read: readers.Images, options: DataOptions
  ) -> Callable[[np.ndarray], Split]:
    """Returns a function from indices to a part of the data."""
    if options.as_arrays:
      return lambda indices: array_batches.ArraySplit(
        read.images, read.labels, indices, self.channels, self.padding
      )
    from recipes.data import augmentation  # It imports TensorFlow.

    transform = augmentation.plain(self.channels)
    if self.padding:
      transform = augmentation.shifted(self.channels, self.padding)
    return _tensor_splitter(read, transform)


def _shrink(images: np.ndarray, by: int) -> np.ndarray:
  """Returns images averaged over blocks of `by` x `by` pixels."""
  count, height, width, channels = images.shape
  blocks = images.reshape(count, height // by, by, width // by, by, channels)
  means = blocks.mean((2, 4), dtype=np.float32)
  if np.issubdtype(images.dtype, np.integer):
    means = np.rint(means)
  return means.astype(images.dtype)


def _tensor_splitter(
  read: readers.Images, transform: Any
) -> Callable[[np.ndarray], Split]:
  """Returns a function from indices to a part, in batches of TensorFlow."""
  from recipes.data import pipeline  # It imports TensorFlow.

  images, labels = map(pipeline.on_host, (read.images, read.labels))
  return lambda indices: pipeline.ArraySplit(images, labels, indices, transform)


MNIST = SmallImages('mnist', 10, (28, 28, 1), _MNIST)
CIFAR10 = SmallImages('cifar10', 10, (32, 32, 3), _CIFAR10, padding=4)
CIFAR10_16X16 = dataclasses.replace(CIFAR10, padding=2, shrunk=2)
CIFAR100 = SmallImages('cifar100', 100, (32, 32, 3), _CIFAR100, padding=4)
TINY_IMAGENET = SmallImages(
  'tiny_imagenet', 200, (64, 64, 3), _IMAGENET, padding=8
)


def imagenet(options: DataOptions) -> Dataset:
  """Returns ImageNet at 224x224, from class folders or TFDS.

  Raises:
    DataError: it is missing, damaged, or too small for the options.
  """
  from recipes.data import tfds_stream  # It imports TensorFlow.

  folder = _folder('imagenet', options)
  prepared = tfds.find('imagenet2012', folder)
  if prepared:
    return tfds_stream.load(
      prepared, 'imagenet', 'validation', _IMAGENET, 224, options
    )
  data = image_folder(options, 224)
  return dataclasses.replace(data, name='imagenet')


def image_folder(options: DataOptions, size: int) -> Dataset:
  """Returns images of any size from class folders.

  If they fit in 2 GiB (10,000 images at 224x224), they are resized once and
  kept in memory; otherwise they are decoded each time they are read.

  Args:
    options: what the user asks for; `data_dir` must be given.
    size: height and width of what the model takes.

  Raises:
    DataError: there are no images or fewer than two classes, a class is empty,
      an image that is kept in memory cannot be decoded, or there are too few
      for the options.
  """
  from recipes.data import augmentation, image_files  # TensorFlow.

  folder = _folder('image_folder', options)
  if not class_folders.find(folder):
    raise DataError(
      f"'{folder}' holds neither train/CLASS/ nor CLASS/ with images."
    )
  found = class_folders.read(folder)
  _check_classes(folder, found.classes)
  name, classes = folder.resolve().name, len(found.classes)
  shape = (size, size, 3)
  stored = round(size / augmentation.CENTRAL)
  if image_files.fits(len(found.paths), (stored, stored, 3)):
    squares = image_files.read_squares(found.paths, stored)
    read = readers.Images(squares, found.labels, found.parts)
    split = _tensor_splitter(read, augmentation.resized(_IMAGENET, size))
  else:
    split = _file_splitter(found, size)
  made = assembled(name, classes, shape, found.parts, options, split)
  return dataclasses.replace(made, class_names=found.classes)


def _check_classes(folder: pathlib.Path, classes: tuple[str, ...]) -> None:
  """Raises a `DataError` if there is one class, to which all images belong."""
  if len(classes) > 1:
    return
  message = f"'{folder}' has one class, '{classes[0]}'; two are the minimum."
  inner = folder / classes[0]
  if inner.is_dir() and class_folders.find(inner):
    message += f" Its folders may be the classes: data_dir='{inner}'."
  raise DataError(message)


def _file_splitter(
  found: class_folders.ClassFolders, size: int
) -> Callable[[np.ndarray], Split]:
  """Returns a function from indices to a part that decodes files."""
  from recipes.data import image_files, pipeline

  paths = pipeline.on_host(np.array(found.paths, object))
  labels = pipeline.on_host(found.labels)
  return lambda indices: image_files.FileSplit(
    paths, labels, indices, _IMAGENET, size
  )


def _folder(name: str, options: DataOptions) -> pathlib.Path:
  if options.data_dir is None:
    raise DataError(
      f'{name} needs --data_dir, a folder with one folder of images per class.'
    )
  if options.download:
    raise DataError(f'{name} cannot be downloaded by Keras or TFDS.')
  folder = pathlib.Path(options.data_dir)
  if not folder.is_dir():
    raise DataError(f"data_dir='{folder}' is no folder.")
  return folder
