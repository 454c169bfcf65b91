"""Makes files and folders survive a power cut.

A write or rename that has returned is in memory only, and a power cut loses it.
An fsync of a file keeps its content; its name is kept by an fsync of its
folder, whose own name is kept by an fsync of the folder above.
"""

import errno
import os
import pathlib

# What a system answers that has no fsync of folders, or does not open them.
_UNSUPPORTED = (
  *(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP),
  *(errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR),
)


def flush_file(path: pathlib.Path) -> None:
  """Makes the content of a file survive.

  Args:
    path: the path of the file.

  Raises:
    OSError: it cannot be opened or synchronised; the message names it.
  """
  # Windows flushes only what is open for writing.
  _flush(path, os.O_RDWR if os.name == 'nt' else os.O_RDONLY)


def flush_folder(path: pathlib.Path) -> None:
  """Makes the names in a folder survive, if the system supports it.

  Args:
    path: the path of the folder.

  Raises:
    OSError: it cannot be synchronised; the message names it.
  """
  try:
    _flush(path, os.O_RDONLY)
  except OSError as error:
    if error.errno not in _UNSUPPORTED:
      raise


def _flush(path: pathlib.Path, flags: int) -> None:
  try:
    descriptor = os.open(path, flags)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)
  except OSError as error:  # That of `fsync` has no path.
    raise OSError(
      error.errno, error.strerror or str(error), str(path)
    ) from None


def flush_tree(path: pathlib.Path) -> None:
  """Makes a folder survive with all that is in it, but not its own name.

  Args:
    path: the path of the folder.

  Raises:
    OSError: a part of it cannot be synchronised.
  """
  for folder, _, names in os.walk(path, topdown=False):
    for name in names:
      flush_file(pathlib.Path(folder, name))
    flush_folder(pathlib.Path(folder))


def make_folder(path: pathlib.Path) -> None:
  """Creates a folder and the missing ones above it; their names survive.

  Args:
    path: the path of the folder; need not be missing.

  Raises:
    OSError: a folder cannot be created or synchronised.
  """
  missing = [folder for folder in (path, *path.parents) if not folder.exists()]
  path.mkdir(parents=True, exist_ok=True)
  for folder in missing:
    flush_folder(folder.parent)
