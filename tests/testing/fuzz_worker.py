"""A process that runs the cases of a fuzz, replaced if it hangs or dies."""

import multiprocessing
from collections.abc import Callable
from typing import Any

_TURNS = 50  # Into which a case's time is cut.


class Worker:
  """Runs cases in a process of its own.

  Args:
    run: returns the row of a case, given its index; can be pickled.
    failed: returns the row of a case that has none, given index and reason.
    limit: seconds that a case may take.
    cases: after which a process is replaced: TensorFlow keeps its graphs.
  """

  def __init__(
    self,
    run: Callable[[int], Any],
    failed: Callable[[int, str], Any],
    limit: float,
    cases: int,
  ):
    self._run, self._failed = run, failed
    self._limit, self._cases = limit, cases
    self._process: Any = None
    self._done = 0

  def run(self, index: int) -> Any:
    """Returns the row of a case, whatever it does to its process."""
    if self._process is None or self._done >= self._cases:
      self.stop()
      self._start()
    self._done += 1
    self._pipe.send(index)
    try:
      # In turns, since a machine that is paused would else look like a hang.
      for _ in range(_TURNS):
        if self._pipe.poll(self._limit / _TURNS):
          return self._pipe.recv()
      text = f'took more than {self._limit} s'
    except EOFError:
      text = 'its process died'
    self.stop()
    return self._failed(index, text)

  def _start(self) -> None:
    context = multiprocessing.get_context('spawn')
    self._pipe, theirs = context.Pipe()
    self._process = context.Process(
      target=_run_cases, args=(theirs, self._run), daemon=True
    )
    self._process.start()
    theirs.close()  # Or the end of the process would not end the pipe.
    self._pipe.recv()  # It has imported all: that is not a case's time.
    self._done = 0

  def stop(self) -> None:
    """Ends the process, if there is one."""
    if self._process is not None:
      self._process.kill()
      self._process.join()
      self._process = None


def _run_cases(pipe: Any, run: Callable[[int], Any]) -> None:
  """Runs the cases whose indices come through a pipe."""
  pipe.send('ready')
  while True:
    pipe.send(run(pipe.recv()))
