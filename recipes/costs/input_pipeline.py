r"""Compares the speed of an input pipeline with that of training.

  python -m recipes.costs.input_pipeline --recipe=cifar10_small --data_dir=...

Both are timed in turns, so that other load on the machine affects both. The
pipeline is read as fast as possible. A training step is a forward and backward
pass with SGD, on one batch in memory.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras as keras
from absl import app, flags

from recipes.common import tables
from recipes.costs import result_file
from recipes.data.dataset import Dataset
from recipes.training import catalogue, command_line

FLAGS = flags.FLAGS

_TIMING = 'Timing'
_SECONDS = flags.DEFINE_float(
  'seconds',
  5,
  'Length of each measurement in seconds.',
  0.0,
  module_name=_TIMING,
)
_REPEATS = flags.DEFINE_integer(
  'repeats',
  5,
  'Number of measurements of each, after one that is not counted.',
  1,
  module_name=_TIMING,
)


def measure(
  data: Dataset,
  model: keras.Model,
  batch_size: int,
  seconds: float,
  repeats: int,
) -> dict[str, list[float]]:
  """Returns the images per second of `pipeline` and `training`.

  Args:
    data: whose training part is read.
    model: gives logits.
    batch_size: images in a batch.
    seconds: of each measurement; at least one batch is read.
    repeats: how often each is timed, after once uncounted.
  """
  # More epochs than are read, so that no batch is repeated.
  batches = iter(data.train.epochs(batch_size, 0, 0, 2**31))
  model.compile(
    keras.optimizers.SGD(1e-3, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  first = next(batches)
  work: dict[str, Callable[[], int]] = {
    'pipeline': lambda: len(next(batches)[1]),
    'training': lambda: _step(model, first),
  }
  speeds: dict[str, list[float]] = {name: [] for name in work}
  for repeat in range(repeats + 1):
    for name, once in work.items():
      speed = _per_second(once, seconds)
      if repeat:
        speeds[name].append(speed)
  return speeds


def _step(model: keras.Model, batch: tuple[tf.Tensor, tf.Tensor]) -> int:
  model.train_on_batch(*batch)  # Returns a number, so it has been done.
  return len(batch[1])


def _per_second(once: Callable[[], int], seconds: float) -> float:
  images, begin = 0, time.perf_counter()
  for _ in itertools.count():
    images += once()
    passed = time.perf_counter() - begin
    if passed >= seconds:
      break
  return images / passed


def _row(name: str, values: list[float], digits: int) -> tuple[str, ...]:
  found = (statistics.median(values), min(values), max(values))
  return name, *(f'{value:,.{digits}f}' for value in found)


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = catalogue.chosen(arguments)
  command_line.set_flag_defaults(recipe)
  own = [command_line.RECIPE_FLAGS] if recipe.flags else []
  return command_line.parse(arguments, [catalogue.GROUP, _TIMING, *own])


def _main(_: Sequence[str]) -> None:
  recipe = catalogue.load(FLAGS.recipe)
  config = command_line.run_config(recipe)
  recipe = recipe.configured(config.recipe_flags)
  data = recipe.load(config.data_options)
  model = recipe.build(keras, data.image_shape, data.classes)
  speeds = measure(
    data, model, config.batch_size, _SECONDS.value, _REPEATS.value
  )
  print(f'{recipe.name}, batches of {config.batch_size}, images per second')
  rows = [_row(name, values, 0) for name, values in speeds.items()]
  pairs = zip(speeds['pipeline'], speeds['training'], strict=True)
  rows.append(_row('ratio', [a / b for a, b in pairs], 1))
  headers = ('', 'median', 'slowest', 'fastest')
  print(tables.plain(rows, headers, right=[1, 2, 3]))
  result_file.write(
    result_file.OUTPUT.value,
    recipe=recipe.name,
    batch_size=config.batch_size,
    images_per_second=speeds,
  )


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)
