"""A recipe that trains in moments, and its binary within this process."""

from typing import Any

import tf_keras as keras
from absl import flags
from absl.testing import flagsaver

from recipes.data import digits
from recipes.training import experiment

layers = keras.layers


def build(image_shape: tuple[int, ...], classes: int) -> keras.Model:
  """Two dense layers with batch normalisation, for the digits."""
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
  parse_flags()
  with flagsaver.flagsaver(**{'verbose': 0, **given}):
    return experiment.run(recipe, directory)


def main(*arguments: str, recipe: experiment.Recipe = RECIPE) -> str | None:
  """Does what the binary does; returns an error's line, `None` without one."""
  parse_flags()
  with flagsaver.flagsaver():
    return experiment.main(recipe, ['tiny', *arguments])
