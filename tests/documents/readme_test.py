"""README: its program runs as it stands, early in the text."""

import pathlib
import re
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_README = (_ROOT / 'README.md').read_text()


@pytest.mark.long
def test_the_program_stands_early_and_runs(tmp_path):
  before, program = re.match(
    r'(.*?)```python\n(.*?)```', _README, re.S
  ).groups()
  assert before.count('\n') + program.count('\n') < 25
  finished = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    check=False,
  )
  assert finished.returncode == 0, finished.stderr
  *_, total, _, _, _, outputs = finished.stdout.splitlines()
  assert total.startswith('total') and '95.000%' in total
  assert outputs.startswith('outputs differ by at most 0 ')
  assert (tmp_path / 'export' / 'saved_model.pb').exists()


def test_ci_runs_the_command_that_the_readme_gives():
  (command,) = re.findall(r"^pip install '\.\[test\]'.*$", _README, re.M)
  ci = (_ROOT / '.ci' / 'run').read_text()
  bodies = dict(re.findall(r'^(\w+)\(\) {\n(.*?)\n}$', ci, re.M | re.S))
  install, suite = command.split(' && ')
  assert install in bodies['install'].split('\n  ')
  assert suite == bodies['suite'].strip()
  # Both are among the steps that run where none is named.
  steps = re.search(r'steps=\((\w[^)]*)\)', ci)[1].split()
  assert steps[:2] == ['install', 'suite'] and set(steps) == set(bodies)
