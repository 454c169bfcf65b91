"""MirroredStrategy: replicas stay equal, and are what one device makes."""

import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  ('wrap', 'optimizer'), [('ours', 'sgd'), ('tfmots', 'adam')]
)
def test_two_devices_make_the_masks_of_one(wrap, optimizer):
  # Logical devices must be set before TensorFlow starts: another process.
  finished = subprocess.run(
    [sys.executable, '-m', 'tests.testing.mirrored', wrap, optimizer],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert finished.returncode == 0, finished.stderr[-3000:]
