"""Finds images in one folder per class.

The folders are `train/CLASS/...` with `val/CLASS/...` (or `validation/`) and
`test/CLASS/...`, or `CLASS/...` alone. Without `test/`, `val/` is the test set,
as on ImageNet. For Tiny ImageNet, `test/` without classes is ignored and
`val/val_annotations.txt` is read.

`keras.utils.image_dataset_from_directory` is not used: it knows one folder of
classes at a time, reads no annotations, shuffles by a seed of its own, and does
not name a damaged or empty image.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from recipes.data.arrays import DataError, Parts

_ENDINGS = ('.jpg', '.jpeg', '.png', '.gif', '.bmp')
# Images too, which not every supported TensorFlow decodes.
_OTHER_ENDINGS = ('.webp', '.heic', '.heif', '.avif', '.jxl', '.tif', '.tiff')
_VALIDATION = ('val', 'validation')
_ANNOTATIONS = 'val_annotations.txt'


_Labelled = list[tuple[str, int]]  # Paths, and the numbers of their classes.


@dataclasses.dataclass(frozen=True)
class ClassFolders:
  """The images of a data set of class folders.

  Args:
    classes: names of the folders, sorted; a label is a position in them.
    paths: of all images.
    labels: of all images, int64.
    parts: which are for training, validation and test.
  """

  classes: tuple[str, ...]
  paths: list[str]
  labels: np.ndarray
  parts: Parts


def find(folder: pathlib.Path) -> bool:
  """Returns whether a folder has subfolders with images."""
  root = _train_folder(folder)
  for name in _folders(root):
    return next(_images(root / name), None) is not None
  return False


def read(folder: pathlib.Path) -> ClassFolders:
  """Returns the paths and labels of all images; opens none of them.

  Raises:
    DataError: a class or an image is empty, an image is of another format, or
      a class has no training images.
  """
  root = _train_folder(folder)
  classes = tuple(_folders(root))
  groups: list[_Labelled | None] = [_files(root, classes, classes), None, None]
  if root != folder:
    validation = _other(folder, _VALIDATION, classes)
    test = _other(folder, ('test',), classes)
    groups[1:] = (None, validation) if test is None else (validation, test)
  return _joined(classes, groups)


def _joined(
  classes: tuple[str, ...], groups: list[_Labelled | None]
) -> ClassFolders:
  files: _Labelled = []
  indices: list[np.ndarray | None] = []
  for group in groups:
    begin = len(files)
    files += group or []
    indices.append(None if group is None else np.arange(begin, len(files)))
  train, validation, test = indices
  assert train is not None
  return ClassFolders(
    classes,
    [path for path, _ in files],
    np.array([label for _, label in files], np.int64),
    Parts(train, validation, test),
  )


def _train_folder(folder: pathlib.Path) -> pathlib.Path:
  return folder / 'train' if (folder / 'train').is_dir() else folder


def _folders(root: pathlib.Path) -> list[str]:
  with os.scandir(root) as entries:
    return sorted(
      entry.name
      for entry in entries
      if entry.is_dir() and not entry.name.startswith('.')
    )


def _other(
  folder: pathlib.Path, names: tuple[str, ...], classes: tuple[str, ...]
) -> _Labelled | None:
  for name in names:
    root = folder / name
    if (root / _ANNOTATIONS).is_file():
      return _annotated(root, classes)
    # Tiny ImageNet's test/images has no labels.
    found = _folders(root) if root.is_dir() else []
    if found and found != ['images']:
      return _files(root, tuple(found), classes)
  return None


def _files(
  root: pathlib.Path, names: tuple[str, ...], classes: tuple[str, ...]
) -> _Labelled:
  files: _Labelled = []
  for name in names:
    if name not in classes:
      raise DataError(
        f"'{root / name}' is a class without training images; there are "
        f'{len(classes)}: {_some(classes)}.'
      )
    found = sorted(_images(root / name))
    if not found:
      raise DataError(f"'{root / name}' has no images ({', '.join(_ENDINGS)}).")
    label = classes.index(name)
    files += [(path, label) for path in found]
  return files


def _some(names: tuple[str, ...]) -> str:
  return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')


def _images(folder: pathlib.Path) -> Iterator[str]:
  """Yields the image files in a folder and its subfolders."""
  with os.scandir(folder) as entries:
    for entry in entries:
      if entry.name.startswith('.'):
        continue
      if entry.is_dir():
        yield from _images(pathlib.Path(entry.path))
      elif entry.name.lower().endswith(_ENDINGS):
        if not entry.stat().st_size:
          raise DataError(f"'{entry.path}' is empty.")
        yield entry.path
      elif entry.name.lower().endswith(_OTHER_ENDINGS):
        raise DataError(
          f"'{entry.path}' is of a format that is not read: make it a JPEG or "
          'PNG file, or move it out of the folder.'
        )


def _annotated(root: pathlib.Path, classes: tuple[str, ...]) -> _Labelled:
  """Reads lines of FILE TAB CLASS TAB ..., for files in `images/`."""
  files: _Labelled = []
  source = root / _ANNOTATIONS
  lines = source.read_text(errors='replace').splitlines()
  for number, line in enumerate(lines, 1):
    name, _, rest = line.partition('\t')
    label, path = rest.split('\t')[0], root / 'images' / name
    if label not in classes:
      raise DataError(f"'{source}', line {number}: unknown class {label!r}.")
    if not path.is_file():
      raise DataError(f"'{source}', line {number}: '{path}' is missing.")
    files.append((str(path), classes.index(label)))
  if not files:
    raise DataError(f"'{source}' is empty.")
  return files
