"""Measures the overhead of pruning a Keras 3 model, on one backend.

  KERAS_BACKEND=jax python -m recipes.costs.keras_3_overhead --output=jax.json

Each repeat trains the dense network, the same with a fixed mask, and the same
on the L2 ramp of DLTH, one after another, for three epochs each with the same
callback. The CPU time of the second epoch counts: by then all is compiled, and
other programs on the machine matter little. Ratios compare the trainings of one
repeat. `recipes.costs.overhead` measures tf_keras models.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from absl import app, flags

import tf_unilth
from recipes.common import tables
from recipes.costs import result_file

_REPEATS = flags.DEFINE_integer('repeats', 7, 'Number of repeats.', 1)
_STEPS = flags.DEFINE_integer('steps', 300, 'Training steps per epoch.', 1)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 60, 'Examples per step.', 1)
_SPARSITY = 0.9
DENSE, HELD, RAMP = 'dense', 'mask held', 'ramp'


def lenet() -> keras.Model:
  """Returns LeNet-300-100, as in Frankle & Carbin (2019)."""
  layers = [
    keras.layers.Input((784,)),
    *(keras.layers.Dense(n, activation='relu') for n in (300, 100)),
    keras.layers.Dense(10),
  ]
  return keras.Sequential(layers)


def conv() -> keras.Model:
  """Returns a small convolutional network for 28x28 images."""
  layers = [
    keras.layers.Input((784,)),
    keras.layers.Reshape((28, 28, 1)),
    keras.layers.Conv2D(16, 3, strides=2, activation='relu'),
    keras.layers.Conv2D(32, 3, strides=2, activation='relu'),
    keras.layers.Flatten(),
    keras.layers.Dense(64, activation='relu'),
    keras.layers.Dense(10),
  ]
  return keras.Sequential(layers)


NETWORKS = {'lenet': lenet, 'conv': conv}


class _Clock(keras.callbacks.Callback):
  """Measures the CPU time of the second epoch of a `fit`."""

  def __init__(self):
    super().__init__()
    self.seconds = 0.0
    self._begin = 0.0

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Starts the clock."""
    self._begin = time.process_time()

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Does nothing, as often as a ticket callback is called."""

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Stops the clock."""
    if epoch == 1:
      self.seconds = time.process_time() - self._begin


def train(
  build: Callable[[], keras.Model], kind: str, data: Any, batch_size: int
) -> float:
  """Trains a network for three epochs.

  Args:
    build: returns the network.
    kind: `'dense'`, `'mask held'` or `'ramp'`.
    data: inputs and labels.
    batch_size: examples per step.

  Returns:
    The CPU seconds of the second epoch.
  """
  keras.utils.set_random_seed(0)
  model = build()
  clock = _Clock()
  callbacks: list[Any] = [clock]
  if kind == HELD:
    _make_sparse(model)
    model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
    callbacks.append(tf_unilth.UniLTH(verbose=0))
  elif kind == RAMP:
    schedule = tf_unilth.IterativeSparsity(_SPARSITY)
    model = tf_unilth.prune_low_magnitude(model, schedule)
    callbacks.append(tf_unilth.DLTH(finetune_fraction=0.2, verbose=0))
  model.compile(
    keras.optimizers.SGD(0.01, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  model.fit(*data, batch_size, epochs=3, verbose=0, callbacks=callbacks)
  return clock.seconds


def _make_sparse(model: keras.Model) -> None:
  """Sets most weights of each kernel to zero."""
  rng = np.random.default_rng(0)
  model.set_weights(
    [
      np.where(rng.random(w.shape) < _SPARSITY, 0, w) if w.ndim > 1 else w
      for w in model.get_weights()
    ]
  )


def measure(
  name: str, repeats: int, steps: int, batch_size: int
) -> dict[str, list[float]]:
  """Returns the CPU seconds per step of each kind of training.

  Args:
    name: of `NETWORKS`.
    repeats: how often each is measured.
    steps: training steps per epoch.
    batch_size: examples per step.
  """
  rng, count = np.random.default_rng(0), steps * batch_size
  data = rng.normal(size=(count, 784)).astype(np.float32), np.arange(count) % 10
  found: dict[str, list[float]] = {DENSE: [], HELD: [], RAMP: []}
  for _ in range(repeats):
    for kind, seconds in found.items():
      taken = train(NETWORKS[name], kind, data, batch_size)
      seconds.append(taken / steps)
  return found


def _row(
  name: str, kind: str, found: dict[str, list[float]]
) -> tuple[str, ...]:
  ratios = [
    one / dense for one, dense in zip(found[kind], found[DENSE], strict=True)
  ]
  median = statistics.median(ratios)
  quartiles = statistics.quantiles(ratios) if len(ratios) > 1 else ratios * 3
  return (
    name,
    kind,
    f'{1000 * statistics.median(found[kind]):.2f}',
    f'{median:.2f} ({quartiles[0]:.2f} to {quartiles[-1]:.2f})',
  )


def _main(_: list[str]) -> None:
  numbers = _REPEATS.value, _STEPS.value, _BATCH_SIZE.value
  found = {name: measure(name, *numbers) for name in NETWORKS}
  rows = [_row(name, kind, one) for name, one in found.items() for kind in one]
  headers = ('network', 'step', 'CPU ms', 'ratio to dense')
  print(f'Keras {keras.__version__} on {keras.backend.backend()}')
  print(tables.plain(rows, headers, right=[2]))
  result_file.write(
    result_file.OUTPUT.value,
    keras=keras.__version__,
    backend=keras.backend.backend(),
    seconds_per_step=found,
  )


if __name__ == '__main__':
  app.run(_main)
