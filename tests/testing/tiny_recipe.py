"""A recipe that trains in moments, and its binary within this process."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

from absl import flags
from absl.testing import flagsaver

from recipes.data import digits
from recipes.training import command_line, experiment
from recipes.training.run_config import RunConfig


def build(keras: Any, image_shape: tuple[int, ...], classes: int) -> Any:
  """Two dense layers with batch normalisation, for the digits."""
  layers = keras.layers
  return keras.Sequential(
    [
      layers.Input(image_shape),
      layers.Flatten(),
      layers.Dense(16, use_bias=False),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.Dense(classes),
    ]
  )


RECIPE = experiment.Recipe(
  name='tiny_recipe',
  load=digits.digits,
  build=build,
  epochs=5,
  batch_size=256,
  learning_rate=0.1,
)


def parse_flags() -> None:
  """Gives all flags their defaults, unless they have values."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def run(
  directory: Any, recipe: experiment.Recipe = RECIPE, **given: Any
) -> dict[str, Any] | None:
  """Runs a recipe with these flags; returns its results."""
  given = {'verbose': 0, 'output_dir': str(directory), **given}
  return experiment.run(recipe, config(recipe, **given))


def config(recipe: experiment.Recipe = RECIPE, **given: Any) -> RunConfig:
  """Returns the configuration of a run with these flags."""
  parse_flags()
  with flagsaver.flagsaver():
    command_line.set_flag_defaults(recipe)
    with flagsaver.flagsaver(**given):
      return command_line.run_config(recipe)


def error_of(call: Callable[[], str | None]) -> str | None:
  """Returns the error's line that a program ends with; `None` without one.

  The parser prints it and leaves; what comes after it returns it.

  Args:
    call: does what the program does.
  """
  errors = io.StringIO()
  try:
    with contextlib.redirect_stderr(errors):
      return call()
  except SystemExit as stop:
    return errors.getvalue().strip() or f'left with {stop.code}'


def main(*arguments: str, recipe: experiment.Recipe = RECIPE) -> str | None:
  """Does what the binary does; returns an error's line, `None` without one."""
  parse_flags()
  with flagsaver.flagsaver():
    return experiment.main(recipe, ['tiny', *arguments])
