"""The index of the committed results: which question, by which command.

  python -m recipes.common.result_index

`recipes/results/index.json` has an entry per folder
`recipes/results/KIND/DATA/QUESTION`. The command writes them as
`recipes/results/README.md`. The fields of an entry:

  path      KIND/DATA/QUESTION
  question  what the result answers
  command   what makes it again
  versions  words as in `tensorflow=2.21.0`, as far as they are on record
  machine   that it was made on
  commit    of the code; of results without a record, the commit that added them
  note      what a reader must know besides; may be empty
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable

from absl import app

from recipes.common import files

RESULTS = pathlib.Path(__file__).parent.parent / 'results'
_HEAD = """\
# Results

What the documents show is read from these files. Each has an entry in
[index.json](index.json), from which `python -m recipes.common.result_index`
writes this page.
"""


@dataclasses.dataclass(frozen=True)
class Result:
  """An entry of the index; the module describes its fields."""

  path: str
  question: str
  command: str
  versions: str
  machine: str
  commit: str
  note: str = ''

  @property
  def folder(self) -> pathlib.Path:
    """Where its files are."""
    return RESULTS / self.path


def read() -> list[Result]:
  """Returns the entries of the index.

  Raises:
    ValueError: an entry lacks a field, or has one that is unknown.
  """
  entries = json.loads((RESULTS / 'index.json').read_text())
  try:
    return [Result(**entry) for entry in entries]
  except TypeError as error:
    raise ValueError(f'index.json has a wrong entry: {error}') from None


def page(results: Iterable[Result]) -> str:
  """Returns the README of the results.

  Args:
    results: the entries of the index.
  """
  return _HEAD + ''.join(map(_section, results))


def _section(result: Result) -> str:
  note = f' {result.note}' if result.note else ''
  return f"""
## {result.question}
[{result.path}]({result.path})

```shell
{result.command}
```

{result.versions}; {result.machine}; commit {result.commit}.{note}
"""


def _main(_: list[str]) -> None:
  files.write_text(RESULTS / 'README.md', page(read()))


if __name__ == '__main__':
  app.run(_main)
