"""Runs programs of tests that have the file shim."""

import pathlib
import subprocess
import sys

import pytest

from tests.stress import file_shim

_ROOT = pathlib.Path(__file__).parents[2]


def output(program: str, folder: pathlib.Path, *arguments: str) -> str:
  """Runs a program of Python with the shim; returns what it prints.

  It skips the test where the shim cannot be used.

  Args:
    program: its text.
    folder: for the shim.
    *arguments: of the program.
  """
  reason = file_shim.missing()
  if reason:
    pytest.skip(reason)
  done = subprocess.run(
    [sys.executable, '-c', program, *arguments],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env=file_shim.compiled(folder),
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout
