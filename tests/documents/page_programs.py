"""The programs of the documents: found, run, and compared with what they show.

  python -m tests.documents.page_programs docs/start.md

runs the programs of pages and writes below each what it printed.

A block of Python that begins with `import` is a program of its own and runs in
an empty folder. Any other block goes on from the block before. A block of text
right after it is what it prints. Warnings are part of it, without the line of
the program that Python adds.
"""

import contextlib
import dataclasses
import io
import linecache
import os
import pathlib
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from tests.documents.document_numbers import ROOT

_BLOCK = re.compile(
  r'^```python\n(?P<program>.*?)^```\n(?:\s*^```text\n(?P<shown>.*?)^```\n)?',
  re.M | re.S,
)
_NUMBER = re.compile(r'\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?')
# Other processors round otherwise, and training amplifies it.
_RELATIVE, _ABSOLUTE = 0.05, 1e-5


@dataclasses.dataclass(frozen=True)
class Program:
  """A block of Python in a page.

  Args:
    source: its lines.
    shown: what the page says that it prints, `None` if it says nothing.
    line: the line of the page that it begins at, from 1.
  """

  source: str
  shown: str | None
  line: int

  @property
  def is_whole(self) -> bool:
    """Whether it needs nothing of the block before."""
    return self.source.startswith('import ')


def programs(page: str) -> list[Program]:
  """Returns the programs of a page.

  Args:
    page: its path in the repository.
  """
  text = (ROOT / page).read_text()
  return [
    Program(
      found['program'],
      found['shown'],
      text.count('\n', 0, found.start('program')) + 1,
    )
    for found in _BLOCK.finditer(text)
  ]


def run(page: str) -> Iterator[tuple[Program, str]]:
  """Runs the programs of a page; yields each with what it prints.

  Args:
    page: its path in the repository.
  """
  variables: dict[str, Any] = {}
  home = pathlib.Path.cwd()
  with tempfile.TemporaryDirectory() as folder:
    for number, program in enumerate(programs(page)):
      if program.is_whole:
        variables = {'__name__': '__main__'}
        _forget_names()
        place = pathlib.Path(folder, str(number))
        place.mkdir()
      os.chdir(place)
      try:
        yield program, _printed(page, program, variables)
      finally:
        os.chdir(home)


def _forget_names() -> None:
  """Lets the Kerases number layers as they do in a process of its own."""
  for name in ('keras', 'tf_keras'):
    if name in sys.modules:
      sys.modules[name].backend.clear_session()


def _printed(page: str, program: Program, variables: dict[str, Any]) -> str:
  # Python and TensorFlow look for the lines of a function in its file.
  name = f'<{page}:{program.line}>'
  lines = program.source.splitlines(keepends=True)
  linecache.cache[name] = len(program.source), None, lines, name
  code = compile(program.source, name, 'exec')
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    warnings.simplefilter('always', UserWarning)
    warnings.filterwarnings('ignore', '(?s).*tf.lite.Interpreter is deprecated')
    warnings.showwarning = _print_warning
    exec(code, variables)
  return printed.getvalue()


def _print_warning(
  message: Warning | str, category: type[Warning], *_: Any
) -> None:
  print(f'{category.__name__}: {message}')


def difference(shown: str, printed: str) -> str:
  """Returns the first line that differs, and nothing if none does.

  Numbers may differ by a twentieth.
  """
  ours, theirs = shown.splitlines(), printed.splitlines()
  for one, other in zip(ours, theirs):
    if not _are_alike(one, other):
      return f'{one!r} is shown, but {other!r} is printed'
  longer = ours[len(theirs) :] or theirs[len(ours) :]
  return f'{longer[0]!r} is shown or printed alone' if longer else ''


def _are_alike(one: str, other: str) -> bool:
  if _NUMBER.sub('#', one) != _NUMBER.sub('#', other):
    return False
  pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other))
  return all(
    abs(a - b) <= max(_ABSOLUTE, _RELATIVE * max(a, b))
    for a, b in ((_value(a), _value(b)) for a, b in pairs)
  )


def _value(number: str) -> float:
  return float(number.replace(',', ''))


def write_outputs(page: str) -> None:
  """Replaces what a page shows by what its programs print."""
  printed = [output for _, output in run(page)]

  def with_output(found: re.Match[str]) -> str:
    output = printed.pop(0)
    if found['shown'] is None:
      return found[0]
    begin, end = (place - found.start() for place in found.span('shown'))
    return found[0][:begin] + output + found[0][end:]

  path = ROOT / page
  path.write_text(_BLOCK.sub(with_output, path.read_text()))


if __name__ == '__main__':
  for name in sys.argv[1:]:
    write_outputs(name)
