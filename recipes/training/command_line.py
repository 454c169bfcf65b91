"""The command line of the programs that train: flags become a `RunConfig`.

This is the only module that reads the values of the flags that `run_flags` and
`pruning_flags` define. A program calls it where it starts, and hands the
`RunConfig` on.
"""

import dataclasses
import pathlib
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags
from absl.testing import flagsaver

from recipes.training import (
  devices,
  exports,
  pruning_flags,
  run_directory,
  run_flags,
)
from recipes.training.recipe import Recipe
from recipes.training.run_config import PruningConfig, RunConfig

FLAGS = flags.FLAGS

# The group in the help of the flags that one recipe defines itself.
RECIPE_FLAGS = 'Recipe'
_LONGEST = 400  # Characters of an error that absl found.
_HELP = {'--help', '-help', '-h'}
# The flags whose defaults a recipe sets.
_RECIPE_DEFAULTS = (
  'epochs',
  'batch_size',
  'learning_rate',
  'weight_decay',
  'label_smoothing',
)
# Left out of the command of a report.
_NOT_IN_COMMAND = ('output_dir', 'overwrite', 'data_dir', 'verbose', 'debug')


def expected_errors() -> tuple[type[Exception], ...]:
  """Returns the errors of data, flags or files, which are shown in one line."""
  of_tensorflow = _tensorflow_error()
  return (
    ValueError,
    FloatingPointError,
    OSError,
    run_directory.RunDirectoryError,
    *([of_tensorflow] if of_tensorflow else []),
  )


def _tensorflow_error() -> type[Any] | None:
  """Returns the class of TensorFlow's errors, `None` if it is not imported."""
  tensorflow = sys.modules.get('tensorflow')
  return None if tensorflow is None else tensorflow.errors.OpError


def set_flag_defaults(recipe: Recipe) -> None:
  """Makes a recipe's own numbers the defaults of the flags."""
  for name in _RECIPE_DEFAULTS:
    FLAGS.set_default(name, getattr(recipe, name))


def parse(arguments: Sequence[str], groups: Iterable[str] = ()) -> list[str]:
  """Parses flags; prints the help, or an error in one line, and leaves.

  Args:
    arguments: the name of the program, then flags.
    groups: of further flags, shown in the help before the shared ones; a group
      is the `module_name` of its flags.

  Returns:
    What is no flag, the name of the program first.
  """
  if _HELP & set(arguments[1:]):
    about = sys.modules['__main__'].__doc__ or ''
    print(help_text(about, (*groups, *run_flags.GROUPS)))
    sys.exit(0)
  try:
    return FLAGS(arguments)
  except flags.Error as error:
    said = ' '.join(str(error).split())
    if len(said) > _LONGEST:  # A value can be endless.
      said = f'{said[: _LONGEST // 2]} ... {said[-_LONGEST // 2 :]}'
    sentence = said.removesuffix('.') + '.'
    print(f'error: {sentence} See --help.', file=sys.stderr)
    sys.exit(1)


def help_text(about: str, groups: Iterable[str]) -> str:
  """Returns what `--help` shows.

  Args:
    about: what the program does, its docstring.
    groups: of flags.
  """
  return '\n'.join([about.strip(), *map(FLAGS.module_help, groups)])


def run_config(recipe: Recipe) -> RunConfig:
  """Returns what the flags say now, with the defaults of a recipe."""
  set_flag_defaults(recipe)
  names = {field.name for field in dataclasses.fields(RunConfig)}
  values: dict[str, Any] = {
    name: FLAGS[name].value for name in run_flags.NAMES if name in names
  }
  if values['warmup_epochs'] is None:
    share = recipe.warmup_epochs / recipe.epochs
    values['warmup_epochs'] = share * values['epochs']
  pruning = _pruning_config(recipe)
  name = f'{pruning.method}-{pruning.target_sparsity}-seed{values["seed"]}'
  if values['keras'] == 'keras':
    name += f'-{devices.backend()}'
  directory = values['output_dir'] or pathlib.Path('runs', recipe.name, name)
  return RunConfig(
    **{
      **values,
      'export': _export(values),
      'output_dir': pathlib.Path(directory),
    },
    pruning=pruning,
    recipe_flags=types.MappingProxyType(
      {name: FLAGS[name].value for name in recipe.flags}
    ),
    command=_command(recipe),
  )


def _export(values: dict[str, Any]) -> tuple[str, ...]:
  """Returns the formats; nothing by default where nothing can be exported."""
  if FLAGS['export'].using_default_value and exports.why_not(values['keras']):
    return ()
  return tuple(values['export'])


def _pruning_config(recipe: Recipe) -> PruningConfig:
  values: dict[str, Any] = {
    name: FLAGS[name].value for name in pruning_flags.NAMES
  }
  read = pruning_flags.READ[values['method']]
  if values['skip'] is None and recipe.skip and 'skip' in read:
    values['skip'] = recipe.skip
  if values['pretrained'] is None and 'pretrained' in read:
    values['pretrained'] = True if FLAGS.initial_weights else None
  has_plateau = 'patience' in read and not values['pretrained']
  if values['patience'] is None and has_plateau:
    values['patience'] = recipe.patience
  lists = {n: tuple(v) for n, v in values.items() if isinstance(v, list)}
  return PruningConfig(**{**values, **lists})


def _command(recipe: Recipe) -> str:
  chosen = [
    FLAGS[name].serialize()
    for name in (*recipe.flags, *run_flags.NAMES)
    if name not in _NOT_IN_COMMAND
    and FLAGS[name].value is not None
    and FLAGS[name].value != FLAGS[name].default
  ]
  return ' '.join(['python -m', f'recipes.{recipe.name}', *chosen])


def config_of(recipe: Recipe, arguments: Sequence[str]) -> RunConfig:
  """Returns the configuration of another command line of a recipe.

  The flags of this process keep their values.

  Args:
    recipe: that the command runs.
    arguments: flags, in addition to those of this process.

  Raises:
    ValueError: a flag has no such value.
  """
  with flagsaver.flagsaver():
    try:
      FLAGS([sys.argv[0], *arguments])
    except flags.Error as error:
      raise ValueError(str(error)) from None
    return run_config(recipe)


def given_flags(names: Iterable[str]) -> list[str]:
  """Returns those of some flags that the command line has, as its words."""
  return [FLAGS[name].serialize() for name in names if FLAGS[name].present]


def reject_positional_arguments(arguments: Sequence[str]) -> None:
  """Raises a `ValueError` for arguments that are no flags.

  Args:
    arguments: what `parse` returned, the name of the program first.
  """
  if arguments[1:]:
    raise ValueError(
      f'{arguments[1]!r} is no flag: they are given as --name=value.'
    )


def error_line(error: BaseException) -> str:
  """Returns an error's line for a user; with `--debug`, raises it again."""
  if FLAGS.debug:
    raise error
  return f'error: {one_line(error)}'


def one_line(error: BaseException) -> str:
  """Returns what a user needs of an error's message."""
  of_tensorflow = _tensorflow_error()
  if of_tensorflow and isinstance(error, of_tensorflow):
    # The lines after the first have the graph and the stack.
    message: str = getattr(error, 'message')  # noqa: B009
    return message.strip().partition('\n')[0]
  if isinstance(error, OSError) and error.strerror:
    place = f'{error.filename}: ' if error.filename else ''
    return place + error.strerror
  return str(error)
