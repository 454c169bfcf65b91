"""Compares methods at equal epochs, each with its own hyperparameter search.

  python -m recipes.compare --recipe=digits_cnn --seeds=3
  python -m recipes.compare --recipe=mnist_lenet --data_dir=... --dry_run
  python -m recipes.compare --recipe=mnist_lenet --data_dir=... --seeds=5 \\
    --sparsities=0.9,0.95,0.98,0.99 --methods=gmp,lr_rewind,unilth

Flags of the recipe are passed to all runs. `recipes/comparison/methods.py`
defines the methods and their hyperparameters, `channel_methods.py` those of
`--structure=channels --of=flops`, where `--sparsities` are the shares of the
FLOPs that are removed. `--methods=all` compares all of them;
`--methods=ablations --search_seeds=0` compares UniLTH and UniDLTH with their
ablations, without a search. The output directory receives `comparison.csv`,
with a row per finished run, `report.md` and `comparison.png`. The same command
resumes a comparison; with more seeds, sparsities or methods it runs what is
missing. `--settings_from` compares what another comparison has chosen, such as
that of a smaller network.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags
from absl.testing import flagsaver

from recipes.common.wording import count
from recipes.comparison import (
  chosen_settings,
  method_groups,
  parallel_runs,
  runner,
  tables,
)
from recipes.comparison.channel_methods import (
  CHANNEL_CONFIGS,
  CHANNEL_METHODS,
)
from recipes.comparison.methods import METHOD_CONFIGS
from recipes.comparison.trials import Grid, Trial
from recipes.training import (
  catalogue,
  command_line,
  devices,
  pruning_setup,
  run_directory,
  run_flags,
)
from recipes.training.recipe import Recipe

FLAGS = flags.FLAGS

_COMPARISON = 'Comparison'

flags.DEFINE_list(
  'methods',
  ['all'],
  f'Methods to compare: all, ablations, or of {", ".join(METHOD_CONFIGS)}; '
  f'with --structure=channels, of {", ".join(CHANNEL_METHODS)}.',
  module_name=_COMPARISON,
)
flags.DEFINE_list(
  'sparsities',
  ['0.8', '0.9', '0.95', '0.98', '0.99'],
  'Target sparsities, above 0 and below 1; with --structure=channels, shares '
  'of what --of names.',
  module_name=_COMPARISON,
)
flags.DEFINE_integer(
  'seeds',
  3,
  'Number of runs of each method, with seeds from --first_seed on.',
  1,
  module_name=_COMPARISON,
)
flags.DEFINE_integer(
  'first_seed',
  0,
  'First seed of the runs that are compared. The search uses seeds from 0 on: '
  'with --first_seed=10 no run of the tables has chosen a setting.',
  0,
  module_name=_COMPARISON,
)
flags.DEFINE_integer(
  'search_seeds',
  1,
  'Number of seeds for the search: each method tries its hyperparameters at '
  'the middle sparsity, and those with the best validation accuracy are '
  'compared. 0 compares the defaults.',
  0,
  module_name=_COMPARISON,
)
flags.DEFINE_string(
  'settings_from',
  None,
  'comparison.csv of another comparison, whose chosen settings are used in '
  'place of a search.',
  module_name=_COMPARISON,
)
flags.DEFINE_integer(
  'jobs',
  None,
  'Number of runs in parallel. By default one per GPU, or one per CPU core '
  'without GPUs.',
  1,
  module_name=_COMPARISON,
)
flags.DEFINE_bool(
  'dry_run',
  False,
  'List the runs without starting them.',
  module_name=_COMPARISON,
)
# Not given to the runs of dense networks.
_UNITS = ('structure', 'of')
# The grid sets these flags of the runs.
_SET_BY_GRID = ('method', 'target_sparsity', 'seed')
_ALWAYS = ('--verbose=0', '--noplots', '--export=')


@flags.validator(
  'methods', f'must be all, ablations, or of {", ".join(METHOD_CONFIGS)}'
)
def _are_methods(value: list[str]) -> bool:
  return {*value} <= {*method_groups.NAMES, *METHOD_CONFIGS, *CHANNEL_CONFIGS}


@flags.validator(
  'sparsities', 'must be numbers above 0 and below 1, as in 0.9,0.98'
)
def _are_sparsities(value: list[str]) -> bool:
  try:
    return bool(value) and all(0 < float(text) < 1 for text in value)
  except ValueError:
    return False


@dataclasses.dataclass(frozen=True)
class Settings:
  """The flags of a comparison.

  Args:
    grid: its runs.
    jobs: how many run in parallel; `None` for one per GPU or core.
    dry_run: whether the runs are only listed.
    config: what all runs of a directory must have in common.
    command: what makes the comparison again, without its paths.
  """

  grid: Grid
  jobs: int | None
  dry_run: bool
  config: dict[str, Any]
  command: str


def read_flags(recipe: Recipe) -> Settings:
  """Returns what the flags ask for.

  Args:
    recipe: that runs.

  Raises:
    ValueError: there are flags that a comparison sets itself.
  """
  for name in command_line.given_flags(_SET_BY_GRID):
    flag = name.partition('=')[0]
    raise ValueError(f'{flag} is set by the comparison for each of its runs.')
  if FLAGS.overwrite:
    raise ValueError(
      '--overwrite is for single runs: give the comparison another '
      '--output_dir, or delete what it wrote.'
    )
  if FLAGS['learning_rate'].present:
    # The factors of the search multiply it.
    recipe = dataclasses.replace(recipe, learning_rate=FLAGS.learning_rate)
  grid = _grid(recipe)
  own = ['recipe', 'methods', 'sparsities', 'seeds', 'epochs']
  if FLAGS.settings_from is None:  # It is a path; the report has the settings.
    own.insert(-1, 'search_seeds')
  given = [FLAGS[n].serialize() for n in own if FLAGS[n].value is not None]
  given += command_line.given_flags(['first_seed'])
  common = command_line.given_flags(
    name
    for name in (*run_flags.RESULT_FLAGS, *recipe.flags)
    if name != 'epochs'
  )
  return Settings(
    grid=grid,
    jobs=FLAGS.jobs,
    dry_run=FLAGS.dry_run,
    config={
      'recipe': recipe.name,
      'epochs': grid.epochs,
      'flags': ' '.join(common),
      **({} if FLAGS.keras == 'tf_keras' else {'backend': devices.backend()}),
    },
    command=' '.join(['python -m recipes.compare', *given, *common]),
  )


def _grid(recipe: Recipe) -> Grid:
  """Returns the runs that the flags ask for."""
  structure = FLAGS.structure or ''
  common = command_line.given_flags(
    name
    for name in (*run_flags.NAMES, *recipe.flags)
    if name not in ('epochs', 'output_dir')
    and not (structure and name in _UNITS)
  )
  default = pathlib.Path('runs', 'compare', recipe.name)
  searched = FLAGS.search_seeds
  if not FLAGS.first_seed:
    searched = min(searched, FLAGS.seeds)
  asked = method_groups.chosen(FLAGS.methods, structure, FLAGS.keras)
  methods = list(dict.fromkeys(asked))
  settings: dict[str, int] = {}
  if FLAGS.settings_from is not None:
    for flag in command_line.given_flags(['search_seeds']):
      raise ValueError(
        f'{flag} is of no use: --settings_from has the settings.'
      )
    path = pathlib.Path(FLAGS.settings_from)
    settings, searched = chosen_settings.read(path, methods, structure), 0
  return Grid(
    recipe,
    methods,
    sorted(set(map(float, FLAGS.sparsities))),
    FLAGS.seeds,
    searched,
    FLAGS.epochs or recipe.epochs,
    pathlib.Path(FLAGS.output_dir or default),
    (*_ALWAYS, *common),
    structure,
    FLAGS.of or 'weights',
    FLAGS.first_seed,
    settings,
  )


def _check(grid: Grid, trials: Sequence[Trial]) -> None:
  """Raises a `ValueError` for a run that its recipe would refuse."""
  for trial in trials:
    # A dense network is not given those of the comparison.
    with flagsaver.flagsaver(**dict.fromkeys(_UNITS)):
      config = command_line.config_of(grid.recipe, grid.job(trial).flags)
    pruning_setup.check(config.pruning, config.keras_module)


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
      print(f'  {done}{runner.describe(trial)}: {" ".join(words)}')


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = catalogue.chosen(arguments)
  own = [command_line.RECIPE_FLAGS] if recipe.flags else []
  return command_line.parse(arguments, [catalogue.GROUP, _COMPARISON, *own])


def _main(arguments: Sequence[str]) -> Any:
  try:
    command_line.reject_positional_arguments(arguments)
    settings = read_flags(catalogue.load(FLAGS.recipe))
    grid = settings.grid
    _check(grid, [*grid.search(), *grid.comparison()])
    if settings.dry_run:
      return _list(grid)
    # Raises for a directory of another configuration.
    run_directory.finished(grid.directory, settings.config)
    run_directory.make(grid.directory)
    run_directory.begin(grid.directory, settings.config)
    slots = parallel_runs.slots(settings.jobs, FLAGS.keras)
    runs = runner.Runner(grid, slots, settings.command)
    if grid.search():
      runs.run(grid.search(), 'search')
    runs.run(grid.comparison(), 'comparison')
  except KeyboardInterrupt:
    print(f'stopped; the same command resumes it in {grid.directory}')
    sys.exit(130)
  except command_line.expected_errors() as error:
    return command_line.error_line(error)
  print('\n'.join(tables.accuracy_table(grid.rows())))
  print(f'\nwritten to {grid.directory}')
  if runs.failed:
    names = '; '.join(runs.failed)
    return f'error: {count(len(runs.failed), "run")} failed: {names}'
  return None


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)
