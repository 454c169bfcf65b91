"""Text, JSON and CSV files, written atomically."""

import csv
import io
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file atomically: to a temporary name, then renames it.

  Raises:
    OSError: it cannot be written; the message names the file.
  """
  beside = path.with_name(path.name + '.tmp')
  try:
    beside.write_text(text)
    os.replace(beside, path)
  except OSError as error:  # That of a full disk has no file name.
    raise OSError(
      error.errno, error.strerror or str(error), str(path)
    ) from None
  finally:
    beside.unlink(missing_ok=True)


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
