"""Programs of the tests of import order: each runs in a process of its own."""

import os
import subprocess
import sys

# Hides packages as if they were not installed.
_BLOCKER = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(name, path=None, target=None):
  return None if name.split('.')[0] in {names!r} else find(name, path, target)
PathFinder.find_spec = find_others
"""


def run(program: str, blocked: tuple[str, ...] = (), **environment: str) -> str:
  """Returns what a program printed.

  Args:
    program: its source.
    blocked: packages that it cannot import.
    **environment: environment variables to set.
  """
  source = _BLOCKER.format(names=blocked) + program
  # The variable is set by tfmot in the process of the tests.
  inherited = {k: v for k, v in os.environ.items() if 'LEGACY_KERAS' not in k}
  done = subprocess.run(
    [sys.executable, '-c', source],
    capture_output=True,
    text=True,
    env={**inherited, **environment},
  )
  assert not done.returncode, done.stderr
  return done.stdout.strip()
