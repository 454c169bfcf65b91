"""Devices, distribution strategy and precision of a run of tf_keras."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras

from recipes.common.wording import count
from recipes.training.devices import cpus


def check(strategy: str, jit_compile: bool) -> None:
  """Raises a `ValueError` for options that TensorFlow rejects or ignores."""
  if strategy != 'multi_worker':
    return
  cluster = _cluster()
  workers = sum(len(cluster.get(kind, ())) for kind in ('chief', 'worker'))
  if jit_compile and workers > 1:
    raise ValueError(_no_jit(workers))


def _no_jit(replicas: int) -> str:
  return (
    f'--jit_compile must be off over {replicas} replicas: TensorFlow cannot '
    'compile a step over several devices.'
  )


def _cluster() -> dict[str, list[str]]:
  """Returns the cluster of TF_CONFIG, checked."""
  text = os.environ.get('TF_CONFIG', '')
  example = (
    '{"cluster": {"worker": ["host1:port", "host2:port"]}, '
    '"task": {"type": "worker", "index": 0}}'
  )
  try:
    given = json.loads(text)
    cluster, task = given['cluster'], given['task']
    cluster[task['type']][int(task['index'])]
  except (ValueError, KeyError, TypeError, IndexError) as error:
    raise ValueError(
      '--strategy=multi_worker needs the environment variable TF_CONFIG, as '
      f'in {example}, but it is {text!r}.'
    ) from error
  return cluster


@contextlib.contextmanager
def prepared(
  strategy: str, precision: str, jit_compile: bool, deterministic: bool
) -> Iterator[tf.distribute.Strategy]:
  """Yields the distribution strategy for a model, with devices configured.

  TensorFlow must not have executed an operation before.

  Args:
    strategy: one of `devices.STRATEGIES`; `'mirrored'` uses all GPUs, or
      without GPUs all logical CPUs.
    precision: one of `devices.PRECISIONS`.
    jit_compile: whether the train step is to be compiled.
    deterministic: whether operations give the same result each time.

  Raises:
    ValueError: several replicas cannot be compiled.
  """
  for gpu in tf.config.list_physical_devices('GPU'):
    # Otherwise TensorFlow reserves all memory of the GPU.
    with contextlib.suppress(RuntimeError):  # The GPU is already in use.
      tf.config.experimental.set_memory_growth(gpu, True)
  if deterministic:
    tf.config.experimental.enable_op_determinism()
  made = _make(strategy)
  if jit_compile and made.num_replicas_in_sync > 1:
    raise ValueError(_no_jit(made.num_replicas_in_sync))
  policy = 'float32' if precision == 'none' else f'mixed_{precision}'
  before = keras.mixed_precision.global_policy()
  keras.mixed_precision.set_global_policy(policy)
  try:
    yield made
  finally:
    keras.mixed_precision.set_global_policy(before)


def _make(strategy: str) -> tf.distribute.Strategy:
  if strategy == 'multi_worker':
    return tf.distribute.MultiWorkerMirroredStrategy()
  if strategy == 'mirrored':
    devices = tf.config.list_logical_devices('GPU')
    devices = devices or tf.config.list_logical_devices('CPU')
    return tf.distribute.MirroredStrategy([device.name for device in devices])
  return tf.distribute.get_strategy()  # The default strategy: one device.


def is_chief(strategy: tf.distribute.Strategy) -> bool:
  """Returns whether this process is the chief, which writes the files."""
  resolver = strategy.cluster_resolver
  if resolver is None or not resolver.task_type:
    return True
  chiefs = resolver.cluster_spec().as_dict().get('chief')
  return resolver.task_type == 'chief' or (
    not chiefs and resolver.task_type == 'worker' and resolver.task_id == 0
  )


def check_agreement(strategy: tf.distribute.Strategy, done: int) -> None:
  """Raises if processes have found different numbers of finished epochs.

  Args:
    strategy: that trains.
    done: finished epochs that this process found.

  Raises:
    ValueError: the processes do not see the same directory.
  """
  per_replica = strategy.run(lambda: tf.constant([done]))
  found = strategy.gather(per_replica, axis=0).numpy()
  if found.min() != found.max():
    raise ValueError(
      '--output_dir must be one directory that all workers see, but some find '
      f'{count(found.min(), "epoch")} done there and others {found.max()}.'
    )


def on_replicas(
  strategy: tf.distribute.Strategy, batches: tf.data.Dataset, weighted: bool
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
  """Returns batches split into even slices, one per replica.

  TensorFlow's own rebatching merges the short last batch of an epoch with the
  next one, so that the boundaries of epochs shift.

  Args:
    strategy: that trains.
    batches: global ones, the same in every process.
    weighted: whether to add a weight per image, so that the mean over replicas
      equals the mean over the batch for uneven slices too.
  """
  replicas = strategy.num_replicas_in_sync
  if replicas == 1:
    return batches

  def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
    mine = replicas // context.num_input_pipelines
    first = context.input_pipeline_id * mine

    def slices(*batch: tf.Tensor) -> tf.data.Dataset:
      count = tf.shape(batch[0], tf.int64)[0]

      def one(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        begin, end = count * index // replicas, count * (index + 1) // replicas
        part = tuple(tensor[begin:end] for tensor in batch)
        if not weighted:
          return part
        share = tf.cast(replicas * (end - begin), tf.float32)
        weight = share / tf.cast(count, tf.float32)
        return *part, tf.fill([end - begin], weight)

      return tf.data.Dataset.range(first, first + mine).map(one)

    return batches.flat_map(slices).prefetch(tf.data.AUTOTUNE)

  return strategy.distribute_datasets_from_function(of_worker)


def describe(strategy: tf.distribute.Strategy) -> str:
  """Returns the number and kind of the devices, as in `2 CPUs`."""
  replicas = strategy.num_replicas_in_sync
  if tf.config.list_physical_devices('GPU'):
    return count(replicas, 'GPU')
  if replicas > 1:
    return count(replicas, 'CPU')
  # TensorFlow counts all CPU cores as one device.
  threads = tf.config.threading.get_intra_op_parallelism_threads()
  return count(min(threads or cpus(), cpus()), 'CPU')


class StrategyDevices:
  """The devices of a distribution strategy; see `devices.Devices`.

  Args:
    strategy: that trains.
  """

  def __init__(self, strategy: tf.distribute.Strategy):
    self._strategy = strategy

  @property
  def is_chief(self) -> bool:
    """Whether this process writes the files."""
    return is_chief(self._strategy)

  def scope(self) -> contextlib.AbstractContextManager[Any]:
    """Returns the scope of the strategy."""
    return self._strategy.scope()

  def set_seed(self, seed: int) -> None:
    """Seeds TensorFlow's global generator."""
    # It is part of checkpoints; deterministic operations need a seed.
    tf.random.set_global_generator(tf.random.Generator.from_seed(seed))

  def check_agreement(self, done: int) -> None:
    """Raises if processes have found different numbers of finished epochs."""
    check_agreement(self._strategy, done)

  def on_replicas(
    self, batches: tf.data.Dataset, weighted: bool
  ) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns batches split into even slices, one per replica."""
    return on_replicas(self._strategy, batches, weighted)

  def as_input(self, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the batches as they are."""
    return batches

  def describe(self) -> str:
    """Returns the number and kind of the devices."""
    return describe(self._strategy)
