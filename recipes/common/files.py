"""Text, JSON and CSV files, written atomically; a power cut loses none."""

import csv
import errno
import io
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file atomically: to a temporary name, then renames it.

  Once this returns, the file survives a power cut.

  Raises:
    OSError: it cannot be written; the message names the file.
  """
  beside = path.with_name(path.name + '.tmp')
  try:
    beside.write_text(text)
    _flush(beside)
    os.replace(beside, path)
    _flush(path.parent)
  except OSError as error:
    raise named_error(error, path) from None
  finally:
    beside.unlink(missing_ok=True)


def make_folder(path: pathlib.Path) -> None:
  """Creates a folder and the missing ones above it; a power cut loses none.

  Raises:
    OSError: it cannot be created.
  """
  missing = [folder for folder in (path, *path.parents) if not folder.exists()]
  path.mkdir(parents=True, exist_ok=True)
  for folder in missing:
    _flush(folder.parent)


def flush_tree(path: pathlib.Path) -> None:
  """Lets a folder survive a power cut, with all that is in it.

  Raises:
    OSError: a part of it cannot be synchronised.
  """
  for folder, _, names in os.walk(path, topdown=False):
    for name in names:
      _flush(pathlib.Path(folder, name))
    _flush(pathlib.Path(folder))


def _flush(path: pathlib.Path) -> None:
  """Lets a file's content, or a folder's names, survive a power cut."""
  if os.name == 'nt':  # It opens no folders, and flushes no read-only files.
    return
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as error:
    # A file system that knows no fsync of folders.
    if error.errno not in (errno.EINVAL, errno.ENOTSUP):
      raise named_error(error, path) from None
  finally:
    os.close(descriptor)


def named_error(error: OSError, path: pathlib.Path) -> OSError:
  """Returns the error with a path: a full disk and fsync name none."""
  return OSError(error.errno, error.strerror or str(error), str(path))


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a JSON file atomically."""
  write_text(path, json.dumps(content, indent=2) + '\n')


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
  """Returns rows as CSV, with a line for the columns.

  Args:
    columns: names, in their order.
    rows: a value per column; `None` and what is missing are empty cells.

  >>> csv_text(['seed', 'note'], [{'seed': 0, 'note': 'a, b'}, {'seed': 1}])
  'seed,note\\n0,"a, b"\\n1,\\n'
  """
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def check_folder(name: str, path: pathlib.Path) -> None:
  """Checks the path of a folder, which need not exist.

  Args:
    name: of the flag.
    path: of the folder.

  Raises:
    NotADirectoryError: the path or one of its parents is a file.
  """
  places = [path, *path.parents]
  existing = next((p for p in places if os.path.lexists(p)), None)
  if existing is not None and not existing.is_dir():
    raise NotADirectoryError(
      f'{name} {str(path)!r} cannot be written: {str(existing)!r} is not a '
      'folder.'
    )
