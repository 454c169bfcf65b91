"""The flag --output of the programs that measure, and the file it names."""

import pathlib
from typing import Any

from absl import flags

from recipes.common import files, provenance

OUTPUT = flags.DEFINE_string('output', None, 'A JSON file to write.')


def write(**found: Any) -> None:
  """Writes what was found, with its record, if --output names a file.

  Args:
    **found: values that JSON can hold.
  """
  if OUTPUT.value:
    content = {**provenance.record(), **found}
    files.write_json(pathlib.Path(OUTPUT.value), content)
