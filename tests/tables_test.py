"""Tables as text: for terminals, and in Markdown without padding."""

import csv
import io

import pytest

from recipes.common import files, tables


def test_a_plain_table_aligns_its_columns():
  text = tables.plain(
    [('dense', '0.5', 'yes'), ('a longer name', '10.25', '')],
    ('method', 'seconds', ''),
    right=[1],
  )
  assert text.splitlines() == [
    'method         seconds',
    'dense              0.5  yes',
    'a longer name    10.25',
  ]


def test_cells_are_shown_as_they_are():
  # tabulate would make numbers of them, and 1e-3 of 0.0010.
  for cell in ('0.0010', '1,000', 'nan', '1e5'):
    assert cell in tables.plain([(cell, 'b')])
    (*_, line) = tables.markdown(['a', 'b'], [(cell, 'b')])
    assert line == f'| {cell} | b |'


@pytest.mark.parametrize(
  'headers, first', [(['a', ''], '| a |  |'), (['', ''], '|  |  |')]
)
def test_markdown_is_not_padded(headers, first):
  rows = [('x', ''), ('', 'a long cell')]
  assert tables.markdown(headers, rows) == [
    first,
    '|---|---|',
    '| x |  |',
    '|  | a long cell |',
  ]


def test_csv_quotes_what_would_be_two_cells():
  rows = [{'a': 'x, y', 'b': None}, {'a': 1.5, 'b': 'two\nlines'}]
  text = files.csv_text(['b', 'a'], rows)
  assert text == 'b,a\n,"x, y"\n"two\nlines",1.5\n'
  read = list(csv.DictReader(io.StringIO(text)))
  assert read == [{'a': 'x, y', 'b': ''}, {'a': '1.5', 'b': 'two\nlines'}]
  with pytest.raises(ValueError, match='not in fieldnames'):
    files.csv_text(['a'], rows)


def test_a_table_without_rows_has_its_header():
  assert tables.markdown(['a', 'b'], []) == ['| a | b |', '|---|---|']
