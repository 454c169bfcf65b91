"""What a file of results says of the program that made it."""

import json
import re
import shutil
import subprocess

import pytest

from recipes.common import provenance
from recipes.costs import import_time, mixed_precision, result_file


def test_a_record_names_versions_machine_and_commit():
  found = provenance.record()
  assert {'python', 'tensorflow', 'tf-keras', 'tf_unilth'} <= set(
    found['versions']
  )
  assert re.fullmatch(r'\w+ \w+, \d+ cores?', found['machine'])
  assert json.loads(json.dumps(found)) == found


def test_versions_are_words_of_a_csv_row():
  words = provenance.version_words(provenance.versions())
  assert f'tensorflow={provenance.versions()["tensorflow"]} ' in words
  assert ',' not in words


def _git(folder, *words):
  subprocess.run(['git', *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which('git'), reason='needs git')
def test_the_commit_says_whether_files_differ_from_it(tmp_path, monkeypatch):
  monkeypatch.setattr(provenance, '_HERE', tmp_path)
  assert provenance.commit() is None
  _git(tmp_path, 'init')
  (tmp_path / 'file').write_text('one')
  _git(tmp_path, 'add', 'file')
  identity = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  _git(tmp_path, *identity, 'commit', '-m', 'one')
  assert re.fullmatch('[0-9a-f]{7,}', provenance.commit())
  (tmp_path / 'file').write_text('two')
  assert provenance.commit().endswith('-dirty')


def test_programs_that_measure_write_their_record(tmp_path, monkeypatch):
  path = tmp_path / 'import.json'
  monkeypatch.setattr(import_time, '_PROGRAMS', {'python': 'pass'})
  monkeypatch.setattr(import_time, '_PROCESSES', _Value(2))
  monkeypatch.setattr(result_file, 'OUTPUT', _Value(path))
  import_time._main([])
  content = json.loads(path.read_text())
  assert content.items() >= provenance.record().items()
  assert len(content['seconds']['python']) == 2


def test_a_precision_that_cannot_be_wrapped_is_told_by_its_error(
  tmp_path, monkeypatch
):
  def refuses(*_):
    raise TypeError

  path = tmp_path / 'found.json'
  monkeypatch.setattr(mixed_precision, '_POLICIES', ('float32',))
  monkeypatch.setattr(mixed_precision, '_WRAPS', {'none': refuses})
  monkeypatch.setattr(result_file, 'OUTPUT', _Value(path))
  mixed_precision.main([])
  assert json.loads(path.read_text())['differences'] == [
    {'policy': 'float32', 'head': 'float32', 'none': 'TypeError'}
  ]


class _Value:
  """In place of a flag of a command line that is not parsed."""

  def __init__(self, value):
    self.value = value
