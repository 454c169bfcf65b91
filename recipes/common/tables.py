"""Tables as text, for terminals and in Markdown, laid out by tabulate."""

from collections.abc import Iterable, Sequence
from typing import Any

import tabulate


def plain(
  rows: Iterable[Sequence[Any]],
  headers: Sequence[str] = (),
  right: Sequence[int] = (),
) -> str:
  """Returns a table for a terminal, its columns two spaces apart.

  Args:
    rows: of cells, shown as `str` has them.
    headers: of the columns; empty for none.
    right: positions of the columns that are aligned to the right.

  >>> print(plain([('epochs', 60), ('steps', '2,340')], right=[1]))
  epochs     60
  steps   2,340
  """
  table = [list(map(str, row)) for row in rows]
  if headers:  # tabulate makes columns two wider than their own headers.
    table.insert(0, list(headers))
  width = max((len(row) for row in table), default=0)
  return tabulate.tabulate(
    table,
    tablefmt='plain',
    disable_numparse=True,
    colalign=['right' if i in right else 'left' for i in range(width)],
  )


def markdown(
  headers: Sequence[str], rows: Iterable[Sequence[Any]]
) -> list[str]:
  """Returns the lines of a table in Markdown, its cells not padded.

  A cell that becomes wider changes its own line only, so that differences of
  committed tables are short.

  Args:
    headers: of the columns.
    rows: of cells, shown as `str` has them.

  >>> markdown(['method', '90%'], [('gmp', '97.10 (1)')])
  ['| method | 90% |', '|---|---|', '| gmp | 97.10 (1) |']
  """
  text = tabulate.tabulate(
    [list(map(str, row)) for row in rows],
    headers,
    tablefmt=_MARKDOWN,
    disable_numparse=True,
    stralign=None,
  )
  return text.split('\n')


def _rule(widths: Sequence[int], alignments: Sequence[str]) -> str:
  return '|---' * len(widths) + '|'


def _row(
  cells: Sequence[str], widths: Sequence[int], alignments: Sequence[str]
) -> str:
  return f'| {" | ".join(cells)} |'


_MARKDOWN = tabulate.TableFormat(
  lineabove=None,
  linebelowheader=_rule,
  linebetweenrows=None,
  linebelow=None,
  headerrow=_row,
  datarow=_row,
  padding=0,
  with_header_hide=None,
)
