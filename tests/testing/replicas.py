"""Runs a recipe under a strategy, in a process of its own, for a test.

python -m tests.testing.replicas STRATEGY OUTPUT_DIR WEIGHTS_FILE
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from recipes.common import figures
from recipes.data import digits
from recipes.networks import small
from recipes.training import command_line, experiment
from recipes.training.run import Run

RECIPE = experiment.Recipe(
  name='lenet_on_digits',
  load=digits.digits,
  # Without batch statistics, which are each replica's own, and dropout.
  build=small.lenet_300_100,
  epochs=4,
  batch_size=256,
  learning_rate=0.1,
  weight_decay=1e-4,
)


def run(strategy: str, directory: pathlib.Path) -> list[np.ndarray]:
  """Returns the weights and masks that a run ends with.

  The plateau comes after two epochs, of which it rewinds one. The last batch of
  an epoch has 199 images, which two replicas cannot share evenly.
  """
  found: list[np.ndarray] = []
  finish = Run._finish

  def look_and_finish(self, writer):
    found.extend(variable.numpy() for variable in self._model.weights)
    assert self._setup.ticket.rewound_to_epoch == 1
    return finish(self, writer)

  Run._finish = look_and_finish
  try:
    with flagsaver.flagsaver(
      output_dir=str(directory),
      strategy=strategy,
      verbose=0,
      export=[],
      patience=1,
      min_delta=10.0,
      rewind_epochs=1,
      train_examples=1223,
      validation_fraction=0.1,
    ):
      experiment.run(RECIPE, command_line.run_config(RECIPE))
  finally:
    Run._finish = finish
  return found


def main(strategy: str, directory: str, file: str) -> None:
  """Runs on two logical devices, where it is not over several workers."""
  flags.FLAGS(['test'])
  figures.available = lambda: False
  if strategy == 'mirrored':
    tf.config.set_logical_device_configuration(
      tf.config.list_physical_devices('CPU')[0],
      [tf.config.LogicalDeviceConfiguration()] * 2,
    )
  np.savez(f'{file}.npz', *run(strategy, pathlib.Path(directory)))


if __name__ == '__main__':
  main(*sys.argv[1:])
