"""How a run of the torture fails: killed inside of a call, or without room."""

import contextlib
import ctypes
import errno
import os
import pathlib
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from recipes.training import exports, run_directory
from tf_unilth.algorithms import ticket_callback
from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.rounds import Rounds
from tf_unilth.engines.keras3.pruning_plan import PruningPlan
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.files import checksummed_file
from tf_unilth.resume import checkpoint_store

# Where a run can kill itself: what is called there. A rewind and a change of
# stage are the ticket callbacks' alone, as masks are.
POINTS = {
  'saving': (checkpoint_store.CheckpointDirectory, 'write'),
  'flushing': (os, 'fsync'),
  'renaming': (os, 'replace'),
  'removing old': (pathlib.Path, 'unlink'),
  'making masks': (Pruner, 'apply_masks'),
  'rewinding': (PruningRun, 'rewind'),
  'a stage switch': (Rounds, 'begin'),
  'resuming': (ticket_callback.TicketCallback, 'after_restore'),
  'holding masks': (PrunedLayers, 'assign_masks'),
}
# Of a Keras 3 model.
KERAS_3_POINTS = {**POINTS, 'holding masks': (PruningPlan, 'set_masks')}
# Of a recipe's run alone.
RECIPE_POINTS = {
  **POINTS,
  'writing the history': (run_directory, 'write_history'),
  'exporting': (exports, 'write'),
}
_DISK = 1 << 22  # Bytes of a small disk, of which a run needs a fourth.


def arm(case: dict[str, Any]) -> None:
  """Lets this process fail as its case says.

  Args:
    case: `kill` (point, call, seconds after its begin), `full` (what fails, at
      which save, bytes that are left), or neither.
  """
  if case.get('kill'):
    point, call, seconds = case['kill']
    points = KERAS_3_POINTS if case['code'] == 'keras' else RECIPE_POINTS
    _at_call(*points[point], call, lambda: _kill_after(seconds))
  if case.get('full'):
    what, save, size = case['full']
    owner = checkpoint_store.CheckpointDirectory
    _at_call(owner, 'write', save, lambda: _FULL[what](size))


def _at_call(owner: Any, name: str, call: int, act: Callable[[], None]) -> None:
  """Calls `act` as a function is called for the `call`-th time, from 0."""
  original, calls = getattr(owner, name), iter(range(1 << 30))

  def counted(*args: Any, **kwargs: Any) -> Any:
    if next(calls) == call:
      act()
    return original(*args, **kwargs)

  setattr(owner, name, counted)


def _kill_after(seconds: float) -> None:
  def kill() -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

  if seconds:
    threading.Thread(target=kill, daemon=True).start()
  else:
    kill()


def _limit_files(size: int) -> None:
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _no_room(*args: Any, **kwargs: Any) -> None:
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_FULL: dict[str, Callable[[int], None]] = {
  # For where no disk can be mounted.
  'write': _limit_files,
  'flush': lambda _: setattr(checksummed_file.os, 'fsync', _no_room),
  'rename': lambda _: setattr(checksummed_file.os, 'replace', _no_room),
}


@contextlib.contextmanager
def small_disk(path: pathlib.Path) -> Iterator[bool]:
  """Mounts a small disk, in memory; gives whether that is permitted."""
  path.mkdir(parents=True)
  libc = ctypes.CDLL(None, use_errno=True)
  options = f'size={_DISK}'.encode()
  mounted = not libc.mount(b'tmpfs', bytes(path), b'tmpfs', 0, options)
  try:
    yield mounted
  finally:
    if mounted:
      libc.umount2(bytes(path), 2)  # Lazily: also if a process is in it.
      path.rmdir()


def fill(filler: pathlib.Path, left: int) -> None:
  """Writes a file that leaves so many bytes of its disk."""
  with contextlib.suppress(OSError), filler.open('wb', 0) as file:
    while file.write(bytes(4096)):
      pass
  os.truncate(filler, max(0, filler.stat().st_size - left))
