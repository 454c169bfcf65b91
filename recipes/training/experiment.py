"""What all recipes share: a binary, from its flags to a finished run."""

import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags, logging

from recipes.training import (
  distribution,
  flag_help,
  report,
  run_directory,
  run_flags,
)
from recipes.training.recipe import Recipe as Recipe
from recipes.training.run import Run

FLAGS = flags.FLAGS

_LONGEST = 400  # Characters of an error that absl found.
# What a run may end with that is no fault of the program.
EXPECTED = (
  ValueError,
  FloatingPointError,
  OSError,
  run_directory.RunDirectoryError,
  tf.errors.OpError,
)


def launch(recipe: Recipe) -> None:
  """Runs a recipe as a binary, with its defaults for the flags."""
  run_flags.adopt(recipe)
  app.run(
    functools.partial(_main, recipe),
    flags_parser=functools.partial(_parse, recipe),
  )


def main(recipe: Recipe, arguments: Sequence[str]) -> str | None:
  """Does what the binary does, in a process where no flags were parsed yet.

  Args:
    recipe: what to train on what.
    arguments: the name of the binary, then flags.

  Returns:
    An error's line, `None` without one.
  """
  run_flags.adopt(recipe)
  return _main(recipe, _parse(recipe, arguments))


def _parse(recipe: Recipe, arguments: Sequence[str]) -> list[str]:
  """Parses flags; shows help that is sorted by what the flags are for."""
  if {'--help', '-help', '-h'} & set(arguments[1:]):
    about = sys.modules['__main__'].__doc__ or ''
    print(flag_help.help_text(about, recipe.flags))
    sys.exit(0)
  try:
    return FLAGS(arguments)
  except flags.Error as error:
    said = ' '.join(str(error).split())
    if len(said) > _LONGEST:  # A value can be endless.
      said = f'{said[: _LONGEST // 2]} ... {said[-_LONGEST // 2 :]}'
    print(f'error: {said} See --help.', file=sys.stderr)
    sys.exit(1)


def _main(recipe: Recipe, arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  # Such as that a callback, which makes a mask, is slower than a step.
  logging.set_verbosity(logging.ERROR)
  tf.get_logger().setLevel('ERROR')
  try:
    run_flags.refuse_words(arguments)
    directory = output_dir(recipe)
    results = run(recipe, directory)
  except SystemExit as stop:
    print(f'stopped; the same command goes on, in {directory}', flush=True)
    raise stop
  except EXPECTED as error:
    if FLAGS.debug:
      raise
    return f'error: {one_line(error)}'
  if results is not None:
    print(f'\n{report.table(results)}\n\nwritten to {directory}')
  return None


def one_line(error: BaseException) -> str:
  """Returns what a user needs of an error's message."""
  if isinstance(error, tf.errors.OpError):
    # Behind the first line come the graph and the stack.
    return error.message.strip().partition('\n')[0]
  if isinstance(error, OSError) and error.strerror:
    place = f'{error.filename}: ' if error.filename else ''
    return place + error.strerror
  return str(error)


def output_dir(recipe: Recipe) -> pathlib.Path:
  """Returns the run directory that the flags name."""
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir)
  name = f'{FLAGS.method}-{FLAGS.target_sparsity}-seed{FLAGS.seed}'
  return pathlib.Path('runs', recipe.name, name)


def run(recipe: Recipe, directory: pathlib.Path) -> dict[str, Any] | None:
  """Trains, strips, evaluates, exports and writes the run directory.

  Goes on where an earlier run of the same command stopped.

  Args:
    recipe: what to train on what.
    directory: the run directory.

  Returns:
    The content of `results.json`; `None` in a process that is not the chief.
  """
  run_flags.adopt(recipe)
  # Before anything is written, so that a bad flag leaves nothing behind.
  run_flags.check()
  given = run_flags.run_config()
  distribution.check(given.strategy, given.jit_compile)
  config = run_flags.config(recipe)
  if given.overwrite:
    run_directory.check_clears(directory)
    results = None
  else:
    results = run_directory.finished(directory, config, can_overwrite=True)
  if results is not None:
    print(f'finished before, in {directory}')
    return results
  with distribution.prepared(
    given.strategy,
    given.mixed_precision,
    given.jit_compile,
    given.deterministic,
  ) as strategy:
    return Run(recipe, directory, given, config, strategy).run()
