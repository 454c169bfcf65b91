"""All methods side by side, at equal epochs, each with a search of its own.

  python -m recipes.compare --recipe=digits_cnn --seeds=3
  python -m recipes.compare --recipe=mnist_lenet --data_dir=... --dry_run
  python -m recipes.compare --recipe=mnist_lenet --data_dir=... --seeds=5 \\
    --sparsities=0.9,0.95,0.98,0.99 --methods=gmp,lr_rewind,unilth

Every flag of the recipe may be given too, and is given to all runs. The methods
and their knobs are those of `recipes/comparison/methods.py`; `all` stands for
the methods and `ablations` for ours, and ours without one of their parts each
or with another, which are compared as they are with --search_seeds=0. In the
output directory it writes `comparison.csv` with a line per run, as they finish,
then `report.md` and `comparison.png`. The same command goes on where it
stopped; with more seeds, sparsities or methods it runs what is new.
"""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags
from absl.testing import flagsaver

from recipes.common import files
from recipes.common.wording import count
from recipes.comparison import parallel_runs, report, tables
from recipes.comparison.methods import ABLATIONS, ENTRANTS, METHODS
from recipes.comparison.trials import Grid, Trial, csv_text
from recipes.training import catalogue, experiment, run_directory, run_flags
from recipes.training.recipe import Recipe

FLAGS = flags.FLAGS
flags.DEFINE_list(
  'methods', ['all'], f'Which: all, ablations, or of {", ".join(ENTRANTS)}.'
)
flags.DEFINE_list(
  'sparsities', ['0.8', '0.9', '0.95', '0.98', '0.99'], 'Targets.'
)
flags.DEFINE_integer('seeds', 3, 'Runs of each, with seeds from 0 on.', 1)
flags.DEFINE_integer(
  'search_seeds',
  1,
  'Seeds with which each method tries its knobs, at the middle sparsity; those '
  'with the best validation accuracy are compared. 0 compares as they are.',
  0,
)
flags.DEFINE_integer(
  'jobs', None, 'Runs side by side; by default one per GPU, else per core.', 1
)
flags.DEFINE_bool('dry_run', False, 'List the runs, and do nothing.')
# What the grid gives to the runs.
_OWN = ('method', 'target_sparsity', 'seed', 'epochs', 'output_dir')
_ALWAYS = ('--verbose=0', '--noplots', '--export=')


def _grid(recipe: Recipe) -> Grid:
  """Returns what the flags ask for, checked."""
  for name in _OWN:
    if FLAGS[name].present and name not in ('epochs', 'output_dir'):
      raise ValueError(f'--{name} is given to the runs by the comparison.')
  if FLAGS.overwrite:
    raise ValueError(
      '--overwrite is for single runs: give the comparison another '
      '--output_dir, or delete what it wrote.'
    )
  recipe_flags = [n for group in run_flags.GROUPS.values() for n in group]
  common = [
    FLAGS[name].serialize()
    for name in [*recipe_flags, *recipe.flags]
    if FLAGS[name].present and name not in _OWN
  ]
  if FLAGS['learning_rate'].present:
    # What the search's factors are to.
    given = FLAGS.learning_rate
    recipe = dataclasses.replace(recipe, learning_rate=given)
  default = pathlib.Path('runs', 'compare', recipe.name)
  return Grid(
    recipe,
    _methods(),
    _sparsities(),
    FLAGS.seeds,
    min(FLAGS.search_seeds, FLAGS.seeds),
    FLAGS.epochs or recipe.epochs,
    pathlib.Path(FLAGS.output_dir or default),
    (*_ALWAYS, *common),
  )


def _config(grid: Grid) -> dict[str, Any]:
  """Returns what all runs of a directory must have in common."""
  given = (
    FLAGS[name].serialize()
    for name in (*run_flags.NUMBERS, *grid.recipe.flags)
    if FLAGS[name].present and name not in _OWN
  )
  return {
    'recipe': grid.recipe.name,
    'epochs': grid.epochs,
    'flags': ' '.join(given),
  }


def _methods() -> list[str]:
  groups = {'all': list(METHODS), 'ablations': [*tables.RIVALS, *ABLATIONS]}
  chosen: list[str] = []
  for name in FLAGS.methods:
    if name not in groups and name not in ENTRANTS:
      raise ValueError(
        f'--methods must be all, ablations, or of {", ".join(ENTRANTS)}, but '
        f'has {name!r}.'
      )
    chosen += groups.get(name, [name])
  return list(dict.fromkeys(chosen))


def _sparsities() -> list[float]:
  try:
    values = [float(text) for text in FLAGS.sparsities]
  except ValueError:
    values = []
  if not values or not all(0 < value < 1 for value in values):
    raise ValueError(
      '--sparsities must be numbers above 0 and below 1, as in 0.9,0.98, but '
      f'is {",".join(FLAGS.sparsities)}.'
    )
  return sorted(set(values))


def _check(grid: Grid, trials: Sequence[Trial]) -> None:
  """Raises a `ValueError` for a run that its recipe would refuse."""
  for trial in trials:
    with flagsaver.flagsaver():
      FLAGS([sys.argv[0], *grid.job(trial).flags])
      run_flags.adopt(grid.recipe)
      run_flags.check()


class _Clock:
  """Says how long the rest will take, by the epochs that are done."""

  def __init__(self, epochs: int):
    self._left, self._done = epochs, 0
    self._began = time.monotonic()

  def add(self, epochs: int) -> str:
    """Notes a run; returns what to show."""
    self._done, self._left = self._done + epochs, self._left - epochs
    per_epoch = (time.monotonic() - self._began) / self._done
    minutes = round(per_epoch * self._left / 60)
    return f'{minutes // 60} h {minutes % 60:02} min left'


class _Runner:
  """Runs what is missing of a grid, and writes what it found.

  Args:
    grid: of the comparison.
    places: where to run.
  """

  def __init__(self, grid: Grid, places: Sequence[parallel_runs.Place]):
    self._grid, self._places = grid, places
    self._succeeded = False
    self.failed: dict[str, str] = {}

  def run(self, trials: Sequence[Trial], what: str) -> None:
    """Runs those trials that are not finished."""
    grid = self._grid
    missing = [trial for trial in trials if grid.results(trial) is None]
    print(
      f'{what}: {count(len(trials), "run")}, {len(trials) - len(missing)} of '
      'them done, '
      f'{len(self._places)} at a time',
      flush=True,
    )
    self._succeeded |= len(missing) < len(trials)
    by_directory = {grid.job(trial).directory: trial for trial in missing}
    clock = _Clock(sum(map(grid.cost, missing)))
    ended = parallel_runs.run(
      grid.recipe.name, [grid.job(t) for t in missing], self._places
    )
    for number, (job, error) in enumerate(ended, 1):
      trial = by_directory[job.directory]
      if error is not None:
        error += f' (runs/{trial.name}/{parallel_runs.LOG})'
      left = clock.add(grid.cost(trial))
      print(
        f'[{number}/{len(missing)}] {_said(trial)}: '
        f'{error or _found(grid, trial)}; {left}',
        flush=True,
      )
      self._note(trial, error)
      self._write_rows()
    self._write_rows()  # Other methods may be asked for, though nothing ran.
    report.write(grid, _command(grid), len(self._places), self.failed)

  def _write_rows(self) -> None:
    rows = csv_text(self._grid.rows())
    files.write_text(self._grid.directory / 'comparison.csv', rows)

  def _note(self, trial: Trial, error: str | None) -> None:
    self._succeeded |= error is None
    if error is not None:
      self.failed[_said(trial)] = error
      if not self._succeeded:
        raise ValueError(
          f'the first run to end failed, in {self._grid.directory}: {error}'
        )


def _said(trial: Trial) -> str:
  knobs = f' ({trial.knobs})' if trial.knobs else ''
  at = f' at {100 * trial.sparsity:.6g}%' if trial.sparsity else ''
  return f'{trial.method}{knobs}{at}, seed {trial.seed}'


def _found(grid: Grid, trial: Trial) -> str:
  results = grid.results(trial)
  assert results is not None
  return (
    f'test accuracy {results["test_accuracy"]:.2%} '
    f'in {results["seconds"]:.0f} s'
  )


def _command(grid: Grid) -> str:
  own = ('recipe', 'methods', 'sparsities', 'seeds', 'search_seeds', 'epochs')
  given = [FLAGS[n].serialize() for n in own if FLAGS[n].value is not None]
  common = _config(grid)['flags'].split()
  return ' '.join(['python -m recipes.compare', *given, *common])


def _list(grid: Grid) -> None:
  for title, trials in (
    ('search', grid.search()),
    ('comparison', grid.comparison()),
  ):
    epochs = sum(map(grid.cost, trials))
    runs = count(len(trials), 'run')
    print(f'{title}: {runs}, {count(epochs, "epoch")}')
    for trial in trials:
      done = 'done  ' if grid.results(trial) else '      '
      words = [f for f in grid.job(trial).flags if f not in _ALWAYS]
      print(f'  {done}{_said(trial)}: {" ".join(words)}')


def _main(arguments: Sequence[str]) -> Any:
  try:
    run_flags.refuse_words(arguments)
    grid = _grid(catalogue.load(FLAGS.recipe))
    _check(grid, [*grid.search(), *grid.comparison()])
    if FLAGS.dry_run:
      return _list(grid)
    config = _config(grid)
    run_directory.finished(grid.directory, config)  # Or it is of another.
    run_directory.make(grid.directory)
    run_directory.begin(grid.directory, config)
    runner = _Runner(grid, parallel_runs.places(FLAGS.jobs))
    if grid.search():
      runner.run(grid.search(), 'search')
    runner.run(grid.comparison(), 'comparison')
  except KeyboardInterrupt:
    print(f'stopped; the same command goes on, in {grid.directory}')
    sys.exit(130)
  except experiment.EXPECTED as error:
    if FLAGS.debug:
      raise
    return f'error: {error}'
  print('\n'.join(tables.accuracy_table(grid.rows())))
  print(f'\nwritten to {grid.directory}')
  if runner.failed:
    names = '; '.join(runner.failed)
    return f'error: {count(len(runner.failed), "run")} failed: {names}'
  return None


if __name__ == '__main__':
  app.run(_main)
