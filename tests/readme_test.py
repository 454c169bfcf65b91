"""README: its program runs as it stands, early in the text."""

import pathlib
import re
import subprocess
import sys

import pytest

_README = (pathlib.Path(__file__).parent.parent / 'README.md').read_text()


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
  assert 'pytest' in command and command.endswith('tests')
