"""A run of the torture, in a process of its own."""

import json
import os
import pathlib
import resource
import sys
import time
import traceback
from typing import Any

from tests.stress import (
  torture_faults,
  torture_keras_run,
  torture_recipe,
  torture_run,
)

HASHES = 'hashes.json'
RUNS = {
  'recipe': torture_recipe.run,
  'library': torture_run.run,
  'keras': torture_keras_run.run,
}
_LONGEST = 600.0  # Seconds of a run that hangs, on a busy machine too.
# Seconds between two looks at a run. Times are counts of them, since a machine
# that is paused for a while would else look like a run that hangs.
_TICK = 0.005


class Child:
  """A run in a process of its own, forked off one that imported TensorFlow.

  Args:
    case: `code`, of `RUNS`, and what that takes; for `torture_faults`, how it
      fails.
    directory: for the folder `run`; a log and the hashes are beside it.
  """

  def __init__(self, case: dict[str, Any], directory: pathlib.Path):
    directory.mkdir(parents=True, exist_ok=True)
    self.log = directory / 'log.txt'
    self.seconds = 0.0  # That it was waited for.
    self._code: int | None = None
    sys.stdout.flush()
    self.pid = os.fork()
    if not self.pid:
      _run_child(case, directory, self.log)

  def wait(self, seconds: float = _LONGEST) -> int | None:
    """Returns its exit code, -9 if it was killed, `None` if it still runs."""
    for _ in range(round(seconds / _TICK)):
      if self._code is not None:
        break
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        self._code = os.waitstatus_to_exitcode(status)
      else:
        time.sleep(_TICK)
        self.seconds += _TICK
    return self._code

  def send(self, number: int) -> None:
    """Sends a signal, if it still runs."""
    if self.wait(0) is None:
      os.kill(self.pid, number)


def _run_child(case: Any, directory: pathlib.Path, log: pathlib.Path) -> None:
  code = 1
  try:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torture_faults.arm(case)
    hashes = RUNS[case['code']](case, directory / 'run')
    (directory / HASHES).write_text(json.dumps(hashes, indent=2))
    code = 0
  except SystemExit as error:
    code = error.code if isinstance(error.code, int) else 1
    print(error.code)
  except BaseException:
    endless = resource.RLIM_INFINITY  # The log is not what shall be cut off.
    resource.setrlimit(resource.RLIMIT_FSIZE, (endless, endless))
    traceback.print_exc()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def result(directory: pathlib.Path) -> dict[str, str]:
  return json.loads((directory / HASHES).read_text())


def checkpoints(directory: pathlib.Path) -> list[pathlib.Path]:
  return sorted((directory / 'run' / 'checkpoints').glob('*.checkpoint'))
