"""What the programs that disturb the writing of files have in common."""

import dataclasses
import gc
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from recipes.common import files, provenance
from tests.stress.file_kind import Kind

_SEARCH = 'search'


def kinds(names: Sequence[str]) -> list[Kind]:
  """Returns kinds of file, with TensorFlow's functions run eagerly.

  It imports TensorFlow, which is slow: a process loads its shim before.

  Args:
    names: of the kinds; none: all.

  Raises:
    ValueError: there is no kind of a name.
  """
  import tensorflow as tf

  from tests.stress.file_kinds import KINDS

  # Tracing takes most of the time of a run, and writes no files.
  tf.config.run_functions_eagerly(True)
  made = {kind.name: kind for kind in (make() for make in KINDS)}
  if not names or _SEARCH in names:
    from tests.stress.search_kind import Searches

    made[_SEARCH] = Searches()
  unknown = [name for name in names if name not in made]
  if unknown:
    known = [*made, _SEARCH]
    raise ValueError(f'kinds must be of {known}, but has {unknown}.')
  collect_rarely()
  return [kind for name, kind in made.items() if not names or name in names]


def collect_rarely() -> None:
  """Lets garbage collections skip all that is there: they take most time."""
  gc.collect()
  gc.freeze()
  gc.set_threshold(100_000, 50, 1000)


def finish(rows: Sequence[Any], output: str | None, **found: Any) -> None:
  """Prints the table, writes it, and leaves with 1 if anything went wrong.

  Args:
    rows: dataclasses, one a kind, with a list of `faults`.
    output: the JSON file; `None` for none.
    **found: what the file has besides, such as the seed.
  """
  print(*rows, sep='\n')
  if output:
    rows_found = [dataclasses.asdict(row) for row in rows]
    content = {**provenance.record(), **found, 'kinds': rows_found}
    files.write_json(pathlib.Path(output), content)
  sys.exit(any(row.faults for row in rows))
