"""A folder beside a path, for what is written before it is renamed."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tf_unilth.user_warning import warn_user


@contextlib.contextmanager
def temporary_folder(target: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a hidden folder beside a path, and removes it.

  Args:
    target: the path, whose folder exists.

  Raises:
    OSError: it cannot be created. That it cannot be removed is a warning.

  >>> target = pathlib.Path(tempfile.mkdtemp(), 'model')
  >>> with temporary_folder(target) as folder:
  ...   folder.name.startswith('.model-')
  True
  """
  made = tempfile.mkdtemp(prefix=f'.{target.name}-', dir=target.parent)
  try:
    yield pathlib.Path(made)
  finally:
    remove(pathlib.Path(made))


def remove(folder: pathlib.Path) -> None:
  """Removes a folder; warns if it cannot.

  Args:
    folder: its path; nothing may be there.
  """
  # Again, since what has failed once may work.
  for _ in range(2):
    if os.path.lexists(folder):
      shutil.rmtree(folder, ignore_errors=True)
  if os.path.lexists(folder):
    warn_user(
      f'{str(folder)!r} could not be removed; nothing needs it: delete it.',
    )
