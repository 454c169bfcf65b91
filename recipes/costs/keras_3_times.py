"""Times the training steps of Keras 3 models, on one backend.

Each repeat trains the dense network, the same with a fixed mask, and the same
on the L2 ramp of DLTH, one after another, for three epochs each with the same
callback. The CPU time of the second epoch counts: by then all is compiled, and
other programs on the machine matter little. Ratios compare the trainings of one
repeat.
"""

import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import tf_unilth
from recipes.common import files, provenance, tables

_STEPS = 300  # Per epoch.
_BATCH_SIZE = 60
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


def train(build: Callable[[], keras.Model], kind: str, data: Any) -> float:
  """Trains a network for three epochs.

  Args:
    build: returns the network.
    kind: `'dense'`, `'mask held'` or `'ramp'`.
    data: inputs and labels.

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
  model.fit(*data, _BATCH_SIZE, epochs=3, verbose=0, callbacks=callbacks)
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


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
  """Returns the CPU seconds per step, by network and kind of training.

  Args:
    repeats: how often each is measured, at least 1.
  """
  rng, count = np.random.default_rng(0), _STEPS * _BATCH_SIZE
  data = rng.normal(size=(count, 784)).astype(np.float32), np.arange(count) % 10
  found: dict[str, dict[str, list[float]]] = {
    name: {DENSE: [], HELD: [], RAMP: []} for name in NETWORKS
  }
  for name, build in NETWORKS.items():
    for _ in range(repeats):
      for kind, seconds in found[name].items():
        seconds.append(train(build, kind, data) / _STEPS)
  return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
  """Returns what `measure` returned as a table.

  Args:
    found: CPU seconds per step, by network and kind of training.
  """
  rows = [_row(name, kind, one) for name, one in found.items() for kind in one]
  headers = ('network', 'step', 'CPU ms', 'ratio to dense')
  title = f'Keras {keras.__version__} on {keras.backend.backend()}'
  return '\n'.join([title, *tables.markdown(headers, rows)])


def _row(
  name: str, kind: str, found: dict[str, list[float]]
) -> tuple[str, ...]:
  ratios = [
    one / dense for one, dense in zip(found[kind], found[DENSE], strict=True)
  ]
  quartiles = statistics.quantiles(ratios) if len(ratios) > 1 else ratios * 3
  return (
    name,
    kind,
    f'{1000 * statistics.median(found[kind]):.2f}',
    f'{statistics.median(ratios):.2f} '
    f'({quartiles[0]:.2f} to {quartiles[-1]:.2f})',
  )


def run(output: pathlib.Path | None, repeats: int) -> None:
  """Measures, prints the table, and writes all numbers to a JSON file.

  Args:
    output: the file, whose extension becomes `.json`; `None` writes nothing.
    repeats: how often each is measured, at least 1.
  """
  found = measure(repeats)
  print(table(found))
  if output:
    content = {
      **provenance.record(),
      'keras': keras.__version__,
      'backend': keras.backend.backend(),
      'seconds_per_step': found,
    }
    files.write_json(output.with_suffix('.json'), content)
