"""Committed results: what documents show is what the runs gave."""

import csv
import json
import pathlib
import re

import pytest

from recipes import comparison, overhead_report, trials

_ROOT = pathlib.Path(__file__).parent.parent
_RESULTS = sorted((_ROOT / 'recipes' / 'results').glob('comparison_*'))
_DOCUMENTS = [_ROOT / 'README.md', _ROOT / 'docs' / 'comparison.md']
# As in | unilth | 98.39 ± 0.16 (5) | or | gmp | +0.18 ± 0.05 (5) |.
_CELLS = re.compile(r'\| \w+ \|.* ± .*\|')
_TABLES = re.compile(r'(?:^\|.*\n)+', re.M)


def _number(text):
  try:
    return float(text)
  except ValueError:
    return text


def _rows(directory):
  lines = (directory / 'comparison.csv').read_text().splitlines()
  return [
    {name: _number(text) for name, text in row.items()}
    for row in csv.DictReader(lines)
  ]


def test_there_are_some():
  assert _RESULTS


@pytest.mark.parametrize('directory', _RESULTS, ids=lambda path: path.name)
def test_a_report_has_the_tables_of_its_runs(directory):
  rows = _rows(directory)
  assert set(rows[0]) == set(trials.COLUMNS)
  report = (directory / 'report.md').read_text()
  assert '\n'.join(comparison.accuracy_table(rows)) in report
  for method in comparison.RIVALS:
    assert '\n'.join(comparison.difference_table(rows, method)) in report
  assert (directory / 'comparison.png').exists()


@pytest.mark.parametrize('document', _DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_in_a_report(document):
  reports = [(d / 'report.md').read_text() for d in _RESULTS]
  shown = [
    table
    for table in _TABLES.findall(document.read_text())
    if any(map(_CELLS.fullmatch, table.splitlines()))
  ]
  assert shown
  for table in shown:
    assert any(table in report for report in reports), table


def test_the_costs_in_the_readme_are_those_of_the_file():
  path = _ROOT / 'recipes' / 'results' / 'overhead.json'
  models = json.loads(path.read_text())['models']
  measured = [
    re.sub(
      r'\d+\.\d{3}',
      lambda found: f'{float(found[0]):.2f}',
      overhead_report.table(name, row),
    )
    for name, row in models.items()
  ]
  section = (_ROOT / 'README.md').read_text().partition('## What pruning')[2]
  table = _TABLES.search(section)[0]
  rows = [line.split(' | ')[1:] for line in table.splitlines()[2:]]
  assert {len(row) for row in rows} == {len(models)}
  cells = [
    (cell.strip(' |'), told)
    for row in rows
    for cell, told in zip(row, measured, strict=True)
  ]
  ratios = [(cell, told) for cell, told in cells if ' to ' in cell]
  assert len(ratios) > 20
  for cell, told in ratios:
    assert f'| {cell} |' in told, cell
