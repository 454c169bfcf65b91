"""The flag --output of the programs that measure, and the file it names."""

import pathlib
from typing import Any

from absl import flags

from recipes.common import files, provenance

OUTPUT = flags.DEFINE_string('output', None, 'A JSON file to write.')


def write(path: str | None, keras: str = 'tf_keras', **found: Any) -> None:
  """Writes what was found after the versions, machine and commit.

  Args:
    path: of the file, `OUTPUT.value`; `None` writes nothing.
    keras: whose versions are written: `'tf_keras'`, or `'keras'` for Keras 3.
    **found: values that JSON can hold.
  """
  if path:
    files.write_json(pathlib.Path(path), {**provenance.record(keras), **found})
