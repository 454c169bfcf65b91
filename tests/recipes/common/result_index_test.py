"""The index of the committed results, and what the files themselves say."""

import csv
import json
import re

import pytest

from recipes.common import result_index
from recipes.common.provenance import version_words

_RESULTS = result_index.read()
_COLUMNS = ('recipe', 'method', 'target_sparsity', 'seed', 'test_accuracy')


_EACH = [pytest.param(result, id=result.path) for result in _RESULTS]


def test_every_folder_is_in_the_index_once():
  files = result_index.RESULTS.rglob('*')
  folders = {path.parent for path in files if path.is_file()}
  assert folders - {result_index.RESULTS} == {r.folder for r in _RESULTS}
  assert len(_RESULTS) == len({r.path for r in _RESULTS})
  assert all(r.path.count('/') == 2 for r in _RESULTS)  # Kind, data, question.


@pytest.mark.parametrize('result', _EACH)
def test_an_entry_says_what_made_the_result(result):
  assert result.question and result.machine
  # A run of Keras 3 names its backend, which may not be TensorFlow.
  assert re.search(r'\b(tensorflow|backend)=', result.versions)
  assert re.match(r'python -m (recipes|tests)\.\w+', result.command)
  assert re.fullmatch(r'[0-9a-f]{7,}', result.commit)
  for name in ('python', 'tensorflow', 'tf-keras', 'tf_unilth'):
    # What is not on record, the note says.
    assert f'{name}=' in result.versions or result.note, name


@pytest.mark.parametrize('result', _EACH)
def test_an_entry_says_what_the_files_say(result):
  for path in result.folder.glob('*.json'):
    content = json.loads(path.read_text())
    if 'versions' in content:
      assert version_words(content['versions']) == result.versions
    assert content.get('machine', result.machine) == result.machine
    commit = content.get('commit', result.commit)
    # The note names the files of other commits.
    assert commit == result.commit or commit in result.note
  for path in result.folder.glob('*.csv'):
    with path.open(newline='') as file:
      rows = list(csv.DictReader(file))
    if 'test_accuracy' in rows[0]:
      assert {*_COLUMNS, 'versions'} <= set(rows[0]), path
    for row in rows:
      assert row.get('versions', result.versions) == result.versions


def test_the_readme_is_that_of_the_index():
  readme = (result_index.RESULTS / 'README.md').read_text()
  assert readme == result_index.page(_RESULTS)


def test_an_entry_without_a_commit_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(result_index, 'RESULTS', tmp_path)
  (tmp_path / 'index.json').write_text(json.dumps([{'path': 'a/b/c'}]))
  with pytest.raises(ValueError, match=r'has a wrong entry: .*commit'):
    result_index.read()
