"""Replaces a directory so that an interruption loses neither old nor new.

A power cut is such an interruption too.
"""

import contextlib
import os
import pathlib

from tf_unilth.files import synchronization
from tf_unilth.user_warning import warn_user


def backup_of(path: pathlib.Path) -> pathlib.Path:
  """Returns the path of the old directory while a new one replaces it.

  Args:
    path: the path of the directory.

  >>> str(backup_of(pathlib.Path('exports/model')))
  'exports/.model.previous'
  """
  return path.parent / f'.{path.name}.previous'


def restore(path: pathlib.Path) -> bool:
  """Moves the backup of an interrupted `replace` back to its path.

  Args:
    path: the path of the directory.

  Returns:
    Whether there was a backup to restore.

  Raises:
    OSError: the backup cannot be moved; the message states where it is.
  """
  backup = backup_of(path)
  if os.path.lexists(path) or not os.path.lexists(backup):
    return False
  try:
    os.rename(backup, path)
  except OSError as error:
    raise _restore_error(path, error) from error
  return True


def replace(new: pathlib.Path, path: pathlib.Path, rest: pathlib.Path) -> None:
  """Replaces a directory by a new one, with two renames.

  Between the renames, the old directory is at `backup_of(path)`. If the second
  rename fails, the first is undone; if the process is killed between them,
  `restore` undoes the first. Once this returns, a power cut does not lose the
  new directory.

  Args:
    new: the new directory, on the same file system.
    path: the path of the directory to replace; need not exist.
    rest: a path that does not exist, to which the old directory is moved.

  Raises:
    OSError: a rename failed, or the new directory cannot be synchronised.
      `path` is unchanged, or the message states that the old directory is at
      its backup.
  """
  backup = backup_of(path)
  # Before the renames, which a power cut may otherwise keep without contents.
  synchronization.flush_tree(new)
  if not os.path.lexists(path):
    os.rename(new, path)
    synchronization.flush_folder(path.parent)
    return
  if os.path.lexists(backup):  # `path` is newer: both renames were done.
    os.rename(backup, rest.with_name(f'{rest.name}_before'))
  try:
    os.rename(path, backup)
    os.rename(new, path)
    # Before the backup is removed, which a power cut may otherwise keep alone.
    synchronization.flush_folder(path.parent)
  except BaseException:
    if os.path.lexists(path) and os.path.lexists(backup):
      with contextlib.suppress(OSError):
        os.rename(path, new)
    restore(path)
    raise
  # Again, since what has failed once may work.
  with contextlib.suppress(OSError):
    os.rename(backup, rest)
    return
  try:
    os.rename(backup, rest)
  except OSError as error:
    warn_user(
      f'the replaced directory could not be removed: {str(backup)!r} '
      f'({error}). The next export to {str(path)!r} removes it.',
    )


def _restore_error(path: pathlib.Path, error: OSError) -> OSError:
  return OSError(
    error.errno,
    f'the directory from {str(path)!r} is complete, but now at '
    f'{str(backup_of(path))!r}, and could not be moved back '
    f'({error.strerror or error}); the next export_saved_model to this path '
    'restores it, or rename it yourself',
  )
