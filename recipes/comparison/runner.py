"""Runs the trials of a comparison, and writes its files as they finish."""

import time
from collections.abc import Sequence

from recipes.common import files
from recipes.common.wording import count
from recipes.comparison import parallel_runs, report
from recipes.comparison.trials import Grid, Trial, csv_text


class _Clock:
  """Estimates the remaining time from the epochs that are done."""

  def __init__(self, epochs: int):
    self._left, self._done = epochs, 0
    self._began = time.monotonic()

  def add(self, epochs: int) -> str:
    """Adds a finished run; returns the remaining time as text."""
    self._done, self._left = self._done + epochs, self._left - epochs
    per_epoch = (time.monotonic() - self._began) / self._done
    minutes = round(per_epoch * self._left / 60)
    return f'{minutes // 60} h {minutes % 60:02} min left'


class Runner:
  """Runs the unfinished trials of a grid and writes their results.

  Args:
    grid: of the comparison.
    slots: the devices; one run at a time on each.
    command: that runs the comparison again.
  """

  def __init__(
    self, grid: Grid, slots: Sequence[parallel_runs.DeviceSlot], command: str
  ):
    self._grid, self._slots, self._command = grid, slots, command
    self._succeeded = False
    self.failed: dict[str, str] = {}

  def run(self, trials: Sequence[Trial], what: str) -> None:
    """Runs the trials that are not finished, and writes the report.

    Args:
      trials: of the grid.
      what: their name in the output.

    Raises:
      ValueError: the first trial that ended has failed.
    """
    grid = self._grid
    missing = [trial for trial in trials if grid.results(trial) is None]
    print(
      f'{what}: {count(len(trials), "run")}, {len(trials) - len(missing)} of '
      'them done, '
      f'{len(self._slots)} at a time',
      flush=True,
    )
    self._succeeded |= len(missing) < len(trials)
    by_directory = {grid.job(trial).directory: trial for trial in missing}
    clock = _Clock(sum(map(grid.cost, missing)))
    ended = parallel_runs.run(
      grid.recipe.name, [grid.job(t) for t in missing], self._slots
    )
    for number, (job, error) in enumerate(ended, 1):
      trial = by_directory[job.directory]
      if error is not None:
        error += f' (runs/{trial.name}/{parallel_runs.LOG})'
      left = clock.add(grid.cost(trial))
      print(
        f'[{number}/{len(missing)}] {describe(trial)}: '
        f'{error or _summarize(grid, trial)}; {left}',
        flush=True,
      )
      self._note(trial, error)
      self._write_rows()
    self._write_rows()  # The methods can be others, even if nothing ran.
    report.write(grid, self._command, len(self._slots), self.failed)

  def _write_rows(self) -> None:
    rows = csv_text(self._grid.rows())
    files.write_text(self._grid.directory / 'comparison.csv', rows)

  def _note(self, trial: Trial, error: str | None) -> None:
    self._succeeded |= error is None
    if error is not None:
      self.failed[describe(trial)] = error
      if not self._succeeded:
        raise ValueError(
          f'the first run to end failed, in {self._grid.directory}: {error}'
        )


def describe(trial: Trial) -> str:
  """Returns a trial in words, as in `gmp at 90%, seed 0`."""
  values = f' ({trial.hyperparameters})' if trial.hyperparameters else ''
  at = f' at {100 * trial.sparsity:.6g}%' if trial.sparsity else ''
  return f'{trial.method}{values}{at}, seed {trial.seed}'


def _summarize(grid: Grid, trial: Trial) -> str:
  results = grid.results(trial)
  assert results is not None
  return (
    f'test accuracy {results["test_accuracy"]:.2%} '
    f'in {results["seconds"]:.0f} s'
  )
