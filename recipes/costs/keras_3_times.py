"""Times the training steps of Keras 3 models, on one backend.

Three networks train in turns, a short epoch each: one is dense, one has a fixed
mask, one is on the L2 ramp of DLTH. Ratios compare epochs that follow each
other, so that what else the machine does affects both. The CPU time of a step
counts, with one thread, because threads that wait for work would count too. The
learning rate is so small that nothing is learned: a network that knows its data
by heart has denormal gradients, which are slow to compute with.
"""

import importlib
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

import tf_unilth
from recipes.common import files, provenance, tables

_STEPS = 60  # Per epoch.
_WARM = 10  # The first steps of an epoch are not timed.
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
  """Measures the CPU time of a step, the mean of an epoch."""

  def __init__(self) -> None:
    super().__init__()
    self.seconds: list[float] = []
    self._begin = 0.0

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Starts the clock after the first steps, and stops it after the last."""
    if batch + 1 == _WARM:
      self._begin = time.process_time()
    elif batch + 1 == _STEPS:
      taken = time.process_time() - self._begin
      self.seconds.append(taken / (_STEPS - _WARM))


class _Turns(keras.callbacks.Callback):
  """Trains other networks for an epoch after each epoch of a `fit`.

  Args:
    others: trains each of them for an epoch.
  """

  def __init__(self, others: Callable[[], None]):
    super().__init__()
    self._others = others

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Trains the others."""
    self._others()


def _compiled(model: keras.Model) -> keras.Model:
  model.compile(
    keras.optimizers.SGD(1e-5, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  return model


def _make_sparse(model: keras.Model) -> None:
  """Sets most weights of each kernel to zero."""
  rng = np.random.default_rng(0)
  model.set_weights(
    [
      np.where(rng.random(w.shape) < _SPARSITY, 0, w) if w.ndim > 1 else w
      for w in model.get_weights()
    ]
  )


def _models(build: Callable[[], keras.Model]) -> dict[str, keras.Model]:
  """Returns the three compiled networks, by kind."""
  dense, held, ramp = build(), build(), build()
  for model in (held, ramp):
    model.set_weights(dense.get_weights())
  _make_sparse(held)
  prune = tf_unilth.prune_low_magnitude
  held = prune(held, tf_unilth.FixedMask())
  ramp = prune(ramp, tf_unilth.IterativeSparsity(_SPARSITY))
  return {
    kind: _compiled(model)
    for kind, model in ((DENSE, dense), (HELD, held), (RAMP, ramp))
  }


def times(
  build: Callable[[], keras.Model], data: Any, repeats: int
) -> dict[str, list[float]]:
  """Trains the three networks in turns.

  Args:
    build: returns the dense network.
    data: inputs and labels of one epoch.
    repeats: how many epochs of each are timed, at least 1.

  Returns:
    The CPU seconds per step of each epoch, by kind.
  """
  keras.utils.set_random_seed(0)
  models, clocks = _models(build), {k: _Clock() for k in (DENSE, HELD, RAMP)}
  held = tf_unilth.UniLTH(verbose=0)

  def fit(kind: str, epochs: int, *callbacks: Any) -> None:
    called = [*callbacks, clocks[kind]]
    models[kind].fit(*data, _BATCH_SIZE, epochs, verbose=0, callbacks=called)

  def others() -> None:
    fit(DENSE, 1)
    fit(HELD, 1, held)

  # The first epoch compiles the steps, and the last cuts.
  ramp = tf_unilth.DLTH(finetune_fraction=0.0, verbose=0)
  fit(RAMP, repeats + 2, _Turns(others), ramp)
  return {
    kind: clock.seconds[1 : repeats + 1] for kind, clock in clocks.items()
  }


def _use_one_thread() -> None:
  """Makes the backend compute with one thread; it must not have computed."""
  backend = keras.backend.backend()
  if backend == 'torch':
    importlib.import_module('torch').set_num_threads(1)
  elif backend == 'jax':
    flags = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'{flags} --xla_cpu_multi_thread_eigen=false'
  else:
    threading = importlib.import_module('tensorflow').config.threading
    threading.set_intra_op_parallelism_threads(1)
    threading.set_inter_op_parallelism_threads(1)


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
  """Returns the CPU seconds per step, by network and kind of training.

  Args:
    repeats: how many epochs of each are timed, at least 1.
  """
  rng, count = np.random.default_rng(0), _STEPS * _BATCH_SIZE
  data = rng.normal(size=(count, 784)).astype(np.float32), np.arange(count) % 10
  return {n: times(build, data, repeats) for n, build in NETWORKS.items()}


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
  median = f'{1000 * statistics.median(found[kind]):.2f}'
  return name, kind, median, ratio(found, kind)


def ratio(found: Mapping[str, Sequence[float]], kind: str) -> str:
  """Returns the median of the ratios to the dense network, and quartiles.

  Args:
    found: CPU seconds per step of a network, by kind.
    kind: `'mask held'` or `'ramp'`.

  >>> ratio({'dense': [1, 1, 1], 'ramp': [1.1, 1.2, 1.3]}, 'ramp')
  '1.20 (1.10 to 1.30)'
  """
  ratios = [
    one / dense for one, dense in zip(found[kind], found[DENSE], strict=True)
  ]
  first, middle, third = (
    statistics.quantiles(ratios) if len(ratios) > 1 else ratios * 3
  )
  return f'{middle:.2f} ({first:.2f} to {third:.2f})'


def run(output: pathlib.Path | None, repeats: int) -> None:
  """Measures, prints the table, and writes all numbers to a JSON file.

  Args:
    output: the file, whose extension becomes `.json`; `None` writes nothing.
    repeats: how many epochs of each are timed, at least 1.
  """
  _use_one_thread()
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
