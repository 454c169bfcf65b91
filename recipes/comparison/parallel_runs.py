"""Runs of a recipe side by side, each in a process on a core or GPU of its own.

The processes are forked off one that has imported TensorFlow and nothing more,
which saves each run some seconds.
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

import tensorflow as tf

from recipes.training import catalogue, distribution, experiment

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
class Place:
  """Where one run at a time computes.

  Args:
    gpu: which one, `None` for the CPU.
    threads: of TensorFlow's operations.
  """

  gpu: int | None
  threads: int


def places(wanted: int | None) -> list[Place]:
  """Returns places for so many runs; by default one per GPU, else per core."""
  cores = distribution.cpus()
  gpus = len(tf.config.list_physical_devices('GPU'))
  count = wanted or gpus or cores
  threads = max(1, cores // count)
  return [Place(i % gpus if gpus else None, threads) for i in range(count)]


def run(
  recipe: str,
  jobs: Sequence[Job],
  places: Sequence[Place],
) -> Iterator[tuple[Job, str | None]]:
  """Runs jobs in order; yields each that ended, with its error's line if any.

  A job whose directory holds a part of it goes on from there. Closing the
  iterator, or an exception such as a keyboard interrupt in its use, stops what
  runs as SIGTERM does: each run saves its checkpoint.

  Args:
    recipe: name of the binary.
    jobs: what to run.
    places: how many run at once, and where.
  """
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(['recipes.training.experiment'])
  waiting, free = list(reversed(jobs)), list(places)
  running: dict[Any, tuple[Any, Job, Place]] = {}
  try:
    while waiting or running:
      while waiting and free:
        job, place = waiting.pop(), free.pop()
        job.directory.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=_run, args=(recipe, job, place))
        process.start()
        running[process.sentinel] = process, job, place
      for sentinel in connection.wait(list(running)):
        process, job, place = running.pop(sentinel)
        process.join()
        free.append(place)
        yield job, None if process.exitcode == 0 else _last_line(job)
  finally:
    for process, _, _ in running.values():
      process.terminate()
    for process, _, _ in running.values():
      process.join()


def _last_line(job: Job) -> str:
  path = job.directory / LOG
  lines = path.read_text(errors='replace').strip().splitlines()
  return lines[-1] if lines else 'it ended without output'


def _run(recipe: str, job: Job, place: Place) -> None:
  """Does what the binary does, in a process of its own."""
  threading.Thread(target=_stop_with_parent, daemon=True).start()
  with (job.directory / LOG).open('w') as log:
    for stream in (1, 2):
      os.dup2(log.fileno(), stream)
  if place.gpu is not None:
    os.environ['CUDA_VISIBLE_DEVICES'] = str(place.gpu)
  tf.config.threading.set_intra_op_parallelism_threads(place.threads)
  tf.config.threading.set_inter_op_parallelism_threads(place.threads)
  arguments = [recipe, *job.flags, f'--output_dir={job.directory}']
  error = experiment.main(catalogue.load(recipe), arguments)
  if error:
    sys.exit(error)
  # No run goes on from a finished one.
  shutil.rmtree(job.directory / 'checkpoints', ignore_errors=True)


def _stop_with_parent() -> None:
  """Stops this process when the one that started it is gone, even killed."""
  parent = multiprocessing.parent_process()
  assert parent is not None
  parent.join()
  os.kill(os.getpid(), signal.SIGTERM)
