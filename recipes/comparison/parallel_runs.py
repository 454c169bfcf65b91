"""Runs of a recipe in parallel, each in a process on its own core or GPU.

The processes are forked from a server that has imported the framework, which
saves each run some seconds.
"""

import dataclasses
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from typing import Any

from recipes.training import catalogue, devices, experiment

LOG = 'log.txt'


@dataclasses.dataclass(frozen=True)
class Job:
  """One run.

  Args:
    directory: of the run, given to no other.
    flags: of the recipe, beside `output_dir`.
  """

  directory: pathlib.Path
  flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DeviceSlot:
  """A device that one run at a time computes on.

  Args:
    gpu: index of the GPU, `None` for the CPU.
    threads: of the operations on a CPU.
    keras: of the runs, one of `devices.KERASES`.
  """

  gpu: int | None
  threads: int
  keras: str = 'tf_keras'


def slots(wanted: int | None, keras: str = 'tf_keras') -> list[DeviceSlot]:
  """Returns the slots for a number of runs in parallel.

  Args:
    wanted: how many; `None` for one per GPU, or per core without GPUs.
    keras: of the runs, one of `devices.KERASES`.
  """
  cores = devices.cpus()
  gpus = _count_gpus(keras)
  count = wanted or gpus or cores
  threads = max(1, cores // count)
  return [
    DeviceSlot(i % gpus if gpus else None, threads, keras) for i in range(count)
  ]


def _count_gpus(keras: str) -> int:
  if keras == 'keras' and devices.backend() != 'tensorflow':
    # Without JAX or torch, which would take memory of the GPU in this process.
    return len(list(pathlib.Path('/dev').glob('nvidia[0-9]*')))
  import tensorflow as tf  # Only here: other backends do not need it.

  return len(tf.config.list_physical_devices('GPU'))


def run(
  recipe: str,
  jobs: Sequence[Job],
  slots: Sequence[DeviceSlot],
) -> Iterator[tuple[Job, str | None]]:
  """Runs jobs in order; yields each when it ends, with the line of its error.

  A job is resumed if its directory has a checkpoint. Closing the iterator, or
  an exception such as a keyboard interrupt, sends SIGTERM to the running jobs:
  each saves a checkpoint.

  Args:
    recipe: name of the binary.
    jobs: what to run.
    slots: the devices; one job at a time runs on each.
  """
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(
    ['recipes.training.experiment', *_frameworks(slots[0].keras)]
  )
  waiting, free = list(reversed(jobs)), list(slots)
  running: dict[Any, tuple[Any, Job, DeviceSlot]] = {}
  try:
    while waiting or running:
      while waiting and free:
        job, slot = waiting.pop(), free.pop()
        job.directory.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=_run, args=(recipe, job, slot))
        process.start()
        running[process.sentinel] = process, job, slot
      for sentinel in connection.wait(list(running)):
        process, job, slot = running.pop(sentinel)
        process.join()
        free.append(slot)
        yield job, None if process.exitcode == 0 else _last_line(job)
  finally:
    for process, _, _ in running.values():
      process.terminate()
    for process, _, _ in running.values():
      process.join()


def _last_line(job: Job) -> str:
  path = job.directory / LOG
  lines = path.read_text(errors='replace').strip().splitlines()
  return lines[-1] if lines else 'the process exited without output'


def _run(recipe: str, job: Job, slot: DeviceSlot) -> None:
  """Runs a job, in its own process."""
  threading.Thread(target=_stop_with_parent, daemon=True).start()
  with (job.directory / LOG).open('w') as log:
    for stream in (1, 2):
      os.dup2(log.fileno(), stream)
  if slot.gpu is not None:
    os.environ['CUDA_VISIBLE_DEVICES'] = str(slot.gpu)
  _limit_threads(slot)
  arguments = [recipe, *job.flags, f'--output_dir={job.directory}']
  error = experiment.main(catalogue.load(recipe), arguments)
  if error:
    sys.exit(error)
  # A finished run is not resumed.
  shutil.rmtree(job.directory / 'checkpoints', ignore_errors=True)


def _frameworks(keras: str) -> list[str]:
  """Returns the modules that all runs import, for the server."""
  if keras == 'tf_keras':
    return ['tf_keras', 'tensorflow_model_optimization']
  # A process with JAX must not fork.
  return [] if devices.backend() == 'jax' else ['keras']


def _limit_threads(slot: DeviceSlot) -> None:
  """Limits the threads of a run's operations, so that runs share the cores.

  On JAX a run computes on all cores.
  """
  backend = 'tensorflow' if slot.keras == 'tf_keras' else devices.backend()
  if backend == 'torch':
    import torch

    torch.set_num_threads(slot.threads)
  elif backend == 'tensorflow':
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(slot.threads)
    tf.config.threading.set_inter_op_parallelism_threads(slot.threads)


def _stop_with_parent() -> None:
  """Stops this process when its parent has ended, also by SIGKILL."""
  parent = multiprocessing.parent_process()
  assert parent is not None
  parent.join()
  os.kill(os.getpid(), signal.SIGTERM)
