"""The devices of a run: what differs between TensorFlow and Keras 3.

A run of tf_keras trains under a distribution strategy of TensorFlow, in
`distribution.py`. A run of Keras 3 trains on one device, on any backend.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from recipes.common.wording import count
from recipes.data import array_batches
from recipes.training import keras_classes

KERASES = ('tf_keras', 'keras')
STRATEGIES = ('none', 'mirrored', 'multi_worker')
PRECISIONS = ('none', 'float16', 'bfloat16')


class Devices(Protocol):
  """What a run trains on."""

  @property
  def is_chief(self) -> bool:
    """Whether this process writes the files."""

  def scope(self) -> contextlib.AbstractContextManager[Any]:
    """Returns the context in which the model is made."""

  def set_seed(self, seed: int) -> None:
    """Seeds all random numbers; in `scope`."""

  def check_agreement(self, done: int) -> None:
    """Raises if processes have found different numbers of finished epochs."""

  def on_replicas(self, batches: Any, weighted: bool) -> Any:
    """Returns batches as `fit` takes them."""

  def as_input(self, batches: Any) -> Any:
    """Returns batches as `evaluate` takes them, on one device."""

  def describe(self) -> str:
    """Returns the number and kind of the devices, as in `2 CPUs`."""


class OneDevice:
  """The devices of a run of Keras 3: one device of its backend.

  Args:
    keras: the module of Keras 3.
  """

  is_chief = True

  def __init__(self, keras: Any):
    self._keras = keras

  def scope(self) -> contextlib.AbstractContextManager[Any]:
    """Returns an empty context."""
    return contextlib.nullcontext()

  def set_seed(self, seed: int) -> None:
    """Does nothing: Keras's own seed is all of it."""

  def check_agreement(self, done: int) -> None:
    """Does nothing: there is one process."""

  def on_replicas(self, batches: Any, weighted: bool) -> Any:
    """Returns batches as `fit` takes them."""
    del weighted
    return self.as_input(batches)

  def as_input(self, batches: Any) -> Any:
    """Returns batches as `evaluate` takes them."""
    if isinstance(batches, array_batches.ArrayBatches):
      return keras_classes.py_dataset(self._keras)(batches)
    return batches  # Of TensorFlow, which Keras takes on each backend.

  def describe(self) -> str:
    """Returns the number and kind of the devices."""
    return '1 GPU' if _has_gpu(backend()) else count(cpus(), 'CPU')


def backend() -> str:
  """Returns the backend of Keras 3."""
  return importlib.import_module('keras').backend.backend()


def _has_gpu(name: str) -> bool:
  """Returns whether a backend computes on a GPU."""
  if name == 'jax':
    return importlib.import_module('jax').default_backend() == 'gpu'
  if name == 'torch':
    return importlib.import_module('torch').cuda.is_available()
  config = importlib.import_module('tensorflow').config
  return bool(config.list_physical_devices('GPU'))


def check(config: Any) -> None:
  """Raises a `ValueError` for options that the run's Keras cannot serve.

  Args:
    config: the `RunConfig`.
  """
  if config.keras == 'tf_keras':
    distribution = importlib.import_module('recipes.training.distribution')
    distribution.check(config.strategy, config.jit_compile)
    return
  name = backend()
  if config.strategy != 'none':
    raise ValueError(
      f'--strategy={config.strategy} needs --keras=tf_keras: runs of Keras 3 '
      'train on one device.'
    )
  if config.steps_per_execution > 1 and name == 'torch':
    raise ValueError(
      '--steps_per_execution must be 1 on the torch backend, but is '
      f'{config.steps_per_execution}.'
    )
  if config.deterministic and name == 'jax':
    raise ValueError(
      '--deterministic has no effect on the JAX backend: set the environment '
      'variable XLA_FLAGS=--xla_gpu_deterministic_ops=true on a GPU.'
    )


@contextlib.contextmanager
def prepared(config: Any) -> Iterator[Devices]:
  """Yields the devices for a model, configured.

  The backend must not have executed an operation before.

  Args:
    config: the `RunConfig`.

  Raises:
    ValueError: several replicas cannot be compiled.
  """
  if config.keras == 'tf_keras':
    distribution = importlib.import_module('recipes.training.distribution')
    with distribution.prepared(
      config.strategy,
      config.mixed_precision,
      config.jit_compile,
      config.deterministic,
    ) as strategy:
      yield distribution.StrategyDevices(strategy)
    return
  if config.deterministic:
    _make_deterministic(backend())
  keras = config.keras_module
  precision = config.mixed_precision
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(
    'float32' if precision == 'none' else f'mixed_{precision}'
  )
  try:
    yield OneDevice(keras)
  finally:
    keras.config.set_dtype_policy(before)


def _make_deterministic(name: str) -> None:
  if name == 'tensorflow':
    config = importlib.import_module('tensorflow').config
    config.experimental.enable_op_determinism()
  else:
    importlib.import_module('torch').use_deterministic_algorithms(True)


def cpus() -> int:
  """Returns the number of CPU cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # Not on macOS.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
