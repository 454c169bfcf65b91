"""Replacing a directory so that the old one or the new one is always there."""

import os
import pathlib
import warnings


def backup_of(path: pathlib.Path) -> pathlib.Path:
  """Returns where a directory lies while a new one takes its place.

  >>> str(backup_of(pathlib.Path('exports/model')))
  'exports/.model.previous'
  """
  return path.parent / f'.{path.name}.previous'


def restore(path: pathlib.Path) -> bool:
  """Puts a directory back that an interrupted `replace` has left aside.

  Args:
    path: of the directory.

  Returns:
    Whether there was one to put back.

  Raises:
    OSError: it cannot be put back; says where it is.
  """
  backup = backup_of(path)
  if os.path.lexists(path) or not os.path.lexists(backup):
    return False
  try:
    os.rename(backup, path)
  except OSError as error:
    raise _left_aside(path, error) from error
  return True


def replace(new: pathlib.Path, path: pathlib.Path, rest: pathlib.Path) -> None:
  """Gives a directory another one's place.

  Two renames do it. Between them the old one is at `backup_of(path)`; if the
  second one fails, the first is undone, and if the process is killed, `restore`
  undoes it.

  Args:
    new: the directory to put there, on the same file system.
    path: where to; need not exist.
    rest: a path that does not exist, where the old one goes in the end.

  Raises:
    OSError: `path` is what it was, or, if the message says so, aside.
  """
  backup = backup_of(path)
  if not os.path.lexists(path):
    os.rename(new, path)
    return
  try:
    if os.path.lexists(backup):  # `path` is newer: the swap was completed.
      os.rename(backup, rest.with_name(f'{rest.name}_before'))
    os.rename(path, backup)
    os.rename(new, path)
  except BaseException:
    restore(path)
    raise
  try:
    os.rename(backup, rest)
  except OSError as error:
    warnings.warn(
      f'the directory that was replaced could not be removed: {str(backup)!r} '
      f'({error}). The next export to {str(path)!r} removes it.',
      stacklevel=3,
    )


def _left_aside(path: pathlib.Path, error: OSError) -> OSError:
  return OSError(
    error.errno,
    f'what was at {str(path)!r} is whole, but at {str(backup_of(path))!r}, and '
    f'could not be put back ({error.strerror or error}); the next '
    'export_saved_model to this path puts it back, or rename it',
  )
