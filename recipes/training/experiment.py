"""The program of a recipe: from flags to a finished run."""

import functools
import logging as standard_logging
from collections.abc import Sequence
from typing import Any

from absl import app, logging

from recipes.common import figures
from recipes.training import (
  command_line,
  devices,
  exports,
  plots,
  pruning_setup,
  report,
  run_directory,
)
from recipes.training.recipe import Recipe as Recipe
from recipes.training.run import Run
from recipes.training.run_config import RunConfig


def launch(recipe: Recipe) -> None:
  """Runs a recipe as a program, with its defaults for the flags."""
  app.run(
    functools.partial(_main, recipe),
    flags_parser=functools.partial(_parse, recipe),
  )


def main(recipe: Recipe, arguments: Sequence[str]) -> str | None:
  """Runs a recipe as its program does, in a process without parsed flags.

  Args:
    recipe: what to train on what.
    arguments: the name of the program, then flags.

  Returns:
    An error's line, `None` without one.
  """
  return _main(recipe, _parse(recipe, arguments))


def _parse(recipe: Recipe, arguments: Sequence[str]) -> list[str]:
  command_line.set_flag_defaults(recipe)
  groups = (command_line.RECIPE_FLAGS,) if recipe.flags else ()
  return command_line.parse(arguments, groups)


def _main(recipe: Recipe, arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  # No warnings, such as that a callback is slower than a step: it makes a mask.
  logging.set_verbosity(logging.ERROR)
  standard_logging.getLogger('tensorflow').setLevel('ERROR')
  config = command_line.run_config(recipe)
  try:
    command_line.reject_positional_arguments(arguments)
    results = run(recipe, config)
  except SystemExit as stop:
    print(
      f'stopped; the same command resumes the run in {config.output_dir}',
      flush=True,
    )
    raise stop
  except command_line.expected_errors() as error:
    return command_line.error_line(error)
  if results is not None:
    print(f'\n{report.table(results)}\n\nwritten to {config.output_dir}')
  return None


def check(config: RunConfig) -> None:
  """Raises a `ValueError` for options that a run's Keras cannot serve.

  It is called before anything is written, so that a bad flag leaves nothing
  behind. If the Keras has no exports, it prints why.

  Args:
    config: of the run.
  """
  devices.check(config)
  if config.initial_weights and config.pruning.method == 'small_dense':
    raise ValueError(
      '--initial_weights must not be given with --method=small_dense: its '
      'network is not as wide.'
    )
  exports.check_backend(config.export, config.keras)
  pruning_setup.check(config.pruning, config.keras_module)
  reason = exports.why_not(config.keras)
  if reason and config.verbose and not config.export:
    print(f'nothing is exported: {reason}')


def run(recipe: Recipe, config: RunConfig) -> dict[str, Any] | None:
  """Trains, strips, evaluates, exports and writes the run directory.

  Resumes an earlier run of the same configuration.

  Args:
    recipe: what to train on what.
    config: of the run.

  Returns:
    The content of `results.json`; `None` in a process that is not the chief.
  """
  check(config)
  directory = config.output_dir
  if config.overwrite:
    run_directory.check_clears(directory)
  else:
    results = run_directory.finished(
      directory, config.result_values(recipe.name), can_overwrite=True
    )
    if results is not None:
      print(f'finished before, in {directory}')
      _note_plots(config)
      return results
  if config.plots and not figures.available():
    print(
      'note: the report will have no plots: they need matplotlib, pip install '
      "'.[report]'"
    )
  with devices.prepared(config) as prepared:
    return Run(recipe, config, prepared).run()


def _note_plots(config: RunConfig) -> None:
  """Says how a finished run gets plots, if it has none and could have."""
  drawn = any((config.output_dir / name).exists() for name in plots.FILES)
  if config.plots and figures.available() and not drawn:
    print(
      'note: its report has no plots; --overwrite trains again and draws them'
    )
