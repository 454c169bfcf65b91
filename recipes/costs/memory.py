"""Peak memory of this process."""

import pathlib
import resource
import sys

_STATUS = pathlib.Path('/proc/self/status')


def peak() -> int:
  """Returns the peak memory of this process in bytes."""
  if _STATUS.exists():
    # On Linux, `getrusage` includes the peak of the parent process.
    lines = _STATUS.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith('VmHWM:')]
    return 1024 * int(line.split()[1])
  # macOS counts bytes, other systems kilobytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
