"""The committed results, and words for what they say."""

import csv
import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recipes.common import result_index
from recipes.comparison import tables

_COMPARISON = result_index.RESULTS / 'comparison'


def load(path: str) -> Any:
  """Returns a committed JSON file.

  Args:
    path: below `recipes/results`.
  """
  return json.loads((result_index.RESULTS / path).read_text())


def _number(text: str) -> float | str:
  try:
    return float(text)
  except ValueError:
    return text


def csv_rows(path: str) -> list[dict[str, Any]]:
  """Returns the rows of a CSV file of the comparisons, with their numbers.

  Args:
    path: below the comparisons.
  """
  with (_COMPARISON / path).open(newline='') as file:
    return [
      {name: _number(text) for name, text in row.items()}
      for row in csv.DictReader(file)
    ]


def rows(question: str) -> list[dict[str, Any]]:
  """Returns the runs of a comparison."""
  return csv_rows(f'{question}/comparison.csv')


@functools.cache
def accuracies(question: str) -> dict[str, dict[float, dict[int, float]]]:
  """Returns test accuracies in percent, by method, sparsity and seed."""
  return tables.accuracies(rows(question))


def lead(question: str, ours: str, theirs: str, sparsity: float) -> tables.Mean:
  """Returns the points of one method above another, over their seeds."""
  found = accuracies(question)
  ours, theirs = found[ours][sparsity], found[theirs][sparsity]
  return tables.mean([ours[s] - theirs[s] for s in ours if s in theirs])


def paired(
  ours: Mapping[int, float], theirs: Mapping[int, float]
) -> tables.Mean:
  """Returns the points of one above the other, seed by seed."""
  assert ours.keys() == theirs.keys()
  return tables.mean([ours[seed] - theirs[seed] for seed in ours])


def leads(
  question: str,
  ours: str,
  theirs: Iterable[str],
  sparsities: Iterable[float] = (0.9, 0.95, 0.98),
) -> list[float]:
  """Returns the points above several methods at several sparsities."""
  pairs = itertools.product(theirs, sparsities)
  return [lead(question, ours, other, s).value for other, s in pairs]


def verdicts(
  question: str, ours: str, theirs: str, *sparsities: float
) -> list[str]:
  """Returns what the intervals of a difference say at some sparsities."""
  return [lead(question, ours, theirs, s).verdict for s in sparsities]


def interval(points: tables.Mean, digits: int = 2) -> str:
  """Returns points with half of their 95% interval."""
  return f'{points.value:.{digits}f} +- {points.margin:.{digits}f}'


def above(points: tables.Mean, digits: int = 2) -> str:
  """Returns the same of points whose interval is above 0."""
  assert points.verdict == 'above', points
  return interval(points, digits)


def not_told_apart(points: tables.Mean, digits: int = 2) -> str:
  """Returns the same of points whose interval includes 0."""
  assert points.verdict == 'not told apart', points
  return interval(points, digits)


def deviation(points: tables.Mean) -> str:
  """Returns a mean with its standard deviation."""
  return f'{points.value:.2f} +- {points.deviation:.2f}'


def span(values: Sequence[float], digits: int) -> str:
  """Returns the least and the largest of values, as in '0.5 to 1.4'."""
  return f'{min(values):.{digits}f} to {max(values):.{digits}f}'


def listed(values: Iterable[float]) -> str:
  """Returns values with two digits, as in '49.42, 49.02'."""
  return ', '.join(f'{value:.2f}' for value in values)
