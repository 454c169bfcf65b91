"""The rows of `recipes.pretrained`, kept in a CSV file."""

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

from recipes.common import files
from recipes.comparison.pretrained_trials import Trial

Row = dict[str, str]


COLUMNS = (
  'recipe',
  'optimizer',
  'method',
  'settings',
  'seed',
  'target_sparsity',
  'epochs',
  'sparsity',
  'rounds',
  'dense_validation_accuracy',
  'validation_accuracy',
  'dense_test_accuracy',
  'test_accuracy',
  'seconds',
  'versions',
)


class Table:
  """Rows of finished runs, kept in a CSV file.

  Args:
    path: of the file; what is in it is not run again.
  """

  def __init__(self, path: pathlib.Path):
    self._path = path
    self.rows = read(path)

  def has(self, trial: Trial) -> bool:
    """Returns whether a run is finished."""
    return any(
      row['recipe'] == trial.task
      and row['optimizer'] == trial.optimizer
      and row['method'] == trial.method
      and row['settings'] == trial.words
      and int(row['seed']) == trial.seed
      for row in self.rows
    )

  def add(self, row: dict[str, Any]) -> None:
    """Adds a finished run and writes the file."""
    self.rows.append({name: str(row[name]) for name in COLUMNS})
    files.write_text(self._path, files.csv_text(COLUMNS, self.rows))


def read(path: pathlib.Path) -> list[Row]:
  """Returns the rows of a CSV file; none, if it is not there."""
  if not path.exists():
    return []
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def rows_of(
  rows: Sequence[Row], task: str, optimizer: str, method: str
) -> list[Row]:
  """Returns the rows of a task, an optimizer and a method."""
  wanted = task, optimizer, method
  return [
    row
    for row in rows
    if (row['recipe'], row['optimizer'], row['method']) == wanted
  ]
