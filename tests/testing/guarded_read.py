"""Reads a damaged file under guard: what it runs, opens, takes and raises."""

import functools
import os
import pathlib
import resource
import signal
import sys
import time
import tracemalloc
import types
from typing import Any, NamedTuple

from tests.testing.file_formats import Format

ACCEPTED, REFUSED, FAILED = 'accepted', 'refused', 'failed'
# Seconds of a read, and bytes of it whatever the file.
_SECONDS, _BYTES = 5, 3 << 20
# What readers never do. Modules are compiled and executed from files.
_FORBIDDEN = (
  *('os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'os.fork'),
  *('subprocess.Popen', 'socket.connect', 'pickle.find_class'),
  *('os.remove', 'os.rename', 'os.mkdir', 'shutil.rmtree', 'os.symlink'),
)
_LIBRARIES = (sys.prefix, sys.base_prefix, '/proc', '/sys', '/etc')


class Outcome(NamedTuple):
  """What a read did.

  Args:
    kind: `ACCEPTED`, `REFUSED` or `FAILED`.
    text: the error, or what was wrong.
    seconds: of the read.
    peak: bytes that it took at the same time; by how much those of the process
      grew, where it was not measured.
  """

  kind: str
  text: str
  seconds: float
  peak: int


class _TooLong(BaseException):
  """A read that does not end; no reader catches it."""


class Guard:
  """Reads the files of a format in a folder of its own.

  Args:
    form: the format.
    folder: an empty folder.
    measure: each how many reads the memory is measured, which takes longer than
      the read. In between, that of the process must not grow.
  """

  def __init__(self, form: Format, folder: pathlib.Path, measure: int = 1):
    self.form, self.folder = form, folder
    self._measure, self._reads = measure, 0
    self.seeds = form.seeds()
    self._done: list[str] = []
    self._inside = os.path.realpath(folder) + os.sep
    if form.is_folder:
      for name in self.seeds:
        self._write(name, self.seeds[name])
    _install_hook()

  def warm_up(self) -> None:
    """Reads the intact files unguarded, which imports what reading needs."""
    for name, content in self.seeds.items():
      self._write(name, content)
      self.form.read(self.folder / name)

  def read(self, name: str, content: bytes) -> Outcome:
    """Reads a file.

    Args:
      name: of the seed that was damaged.
      content: what the file has.
    """
    self._write(name, content)
    began = time.perf_counter()
    error, peak = self._run(self.folder / name)
    seconds = time.perf_counter() - began
    if self.form.is_folder:
      self._write(name, self.seeds[name])
    return Outcome(*self._judge(error, len(content), peak, seconds), peak)

  def _run(self, path: pathlib.Path) -> tuple[BaseException | None, int]:
    error: BaseException | None = None
    self._reads += 1
    measures = self.form.unpacks > 0 and not self._reads % self._measure
    before_bytes = _process_bytes()
    if measures:
      tracemalloc.start()
    self._done.clear()
    before = signal.signal(signal.SIGALRM, self._interrupt)
    signal.alarm(_SECONDS)
    _reading.append(self)
    try:
      self.form.read(path)
    except (KeyboardInterrupt, SystemExit):
      raise
    except BaseException as raised:
      error = raised
    finally:
      _reading.clear()
      signal.alarm(0)
      signal.signal(signal.SIGALRM, before)
    if not measures:
      return error, _process_bytes() - before_bytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return error, peak

  def _judge(
    self, error: Any, size: int, peak: int, seconds: float
  ) -> tuple[str, str, float]:
    kinds = [cls.__name__ for cls in type(error).__mro__]
    text = '' if error is None else f'{type(error).__name__}: {error}'
    allowed = _BYTES + self.form.unpacks * size
    if self._done:
      return FAILED, f'it did {self._done[0]}', seconds
    if isinstance(error, _TooLong):
      return FAILED, f'it took more than {_SECONDS} s', seconds
    if self.form.unpacks and peak > allowed:
      return FAILED, f'it took {peak:,} bytes for {size:,}', seconds
    if error is None:
      return ACCEPTED, '', seconds
    documented = any(name in kinds for name in self.form.errors)
    return REFUSED if documented else FAILED, text[:500], seconds

  def _write(self, name: str, content: bytes) -> None:
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

  def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
    """Notes what a read does that it must not do."""
    if event in _FORBIDDEN:
      self._done.append(f'{event}{arguments!r:.200}')
    elif event == 'exec':
      name = getattr(arguments[0], 'co_filename', '')
      is_text = name.startswith('<') and not name.startswith('<frozen')
      # A module of a library makes classes by it while it is imported.
      if is_text and not _is_importing():
        self._done.append(f'exec of {name}')
    elif event == 'open' and isinstance(arguments[0], str | bytes):
      self._check_open(os.fsdecode(arguments[0]), arguments[2])

  def _check_open(self, path: str, flags: Any) -> None:
    real = os.path.realpath(path)
    inside = real.startswith(self._inside)
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    is_source = real.endswith(('.py', '.pyc', '.so'))
    if inside or (not writes and (is_source or real.startswith(_LIBRARIES))):
      return
    self._done.append(f'open({path!r})')

  @staticmethod
  def _interrupt(*_: Any) -> None:
    raise _TooLong


def _process_bytes() -> int:
  """Returns the most memory that the process has taken so far."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _is_importing() -> bool:
  frame: types.FrameType | None = sys._getframe()
  while frame is not None:
    if frame.f_code.co_filename == '<frozen importlib._bootstrap>':
      return True
    frame = frame.f_back
  return False


_reading: list[Guard] = []  # The guard whose read runs.


@functools.cache
def _install_hook() -> None:
  """Installs the hook of all guards, which Python cannot remove."""

  def audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _reading:
      _reading[0].audit(event, arguments)

  sys.addaudithook(audit)
