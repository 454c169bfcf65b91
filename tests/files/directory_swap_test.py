"""Replaced directories: the old one or the new one is there, at any moment."""

import os
import pathlib
import subprocess
import sys

import pytest

import tf_unilth
from tests.testing import toys
from tf_unilth.files import directory_swap


def _made(path, content):
  path.mkdir()
  (path / 'content').write_text(content)
  return path


def _content(path):
  return (path / 'content').read_text()


@pytest.fixture
def place(tmp_path):
  """An old directory and a new one beside it, which is to replace it."""
  folder = tmp_path / 'work'
  folder.mkdir()
  new, old = _made(folder / 'new', 'new'), _made(tmp_path / 'model', 'old')
  return new, old, folder / 'replaced'


def _failing(monkeypatch, error, at):
  """Lets renames fail, those whose numbers are in `at`."""
  real, calls = os.rename, []

  def rename(source, target):
    calls.append(target)
    if len(calls) in at:
      raise error
    real(source, target)

  monkeypatch.setattr(os, 'rename', rename)


def test_the_new_one_takes_the_place(place):
  new, path, rest = place
  directory_swap.replace(new, path, rest)
  assert (_content(path), _content(rest)) == ('new', 'old')
  assert not directory_swap.backup_of(path).exists()
  assert not directory_swap.restore(path)


@pytest.mark.parametrize('at', [{1}, {2}])
@pytest.mark.parametrize('error', [OSError(28, 'full'), KeyboardInterrupt()])
def test_a_rename_that_fails_leaves_the_old_one(place, monkeypatch, error, at):
  new, path, rest = place
  _failing(monkeypatch, error, at)
  with pytest.raises(type(error)):
    directory_swap.replace(new, path, rest)
  assert _content(path) == 'old'
  assert not directory_swap.backup_of(path).exists()


def test_renames_that_go_on_failing_name_the_backup(place, monkeypatch):
  new, path, rest = place
  _failing(monkeypatch, OSError(28, 'No space left'), set(range(2, 100)))
  with pytest.raises(OSError, match=r'\.model\.previous.*restores it'):
    directory_swap.replace(new, path, rest)
  assert _content(directory_swap.backup_of(path)) == 'old'
  with pytest.raises(OSError, match=r'\.model\.previous.*No space left'):
    directory_swap.restore(path)
  monkeypatch.undo()
  assert directory_swap.restore(path)
  assert _content(path) == 'old'


def test_a_second_interrupt_leaves_the_backup(place, monkeypatch):
  new, path, rest = place
  _failing(monkeypatch, KeyboardInterrupt(), {2, 3})
  with pytest.raises(KeyboardInterrupt):
    directory_swap.replace(new, path, rest)
  assert directory_swap.restore(path) and _content(path) == 'old'


def test_what_cannot_be_cleaned_is_told_and_goes_next_time(place, monkeypatch):
  new, path, rest = place
  _failing(monkeypatch, OSError(16, 'busy'), {3, 4})
  with pytest.warns(UserWarning, match=r'not be removed.*\.model\.previous'):
    directory_swap.replace(new, path, rest)
  assert _content(path) == 'new'
  backup = directory_swap.backup_of(path)
  assert not directory_swap.restore(path) and _content(backup) == 'old'
  directory_swap.replace(_made(new, 'newer'), path, rest)
  assert _content(path) == 'newer' and not backup.exists()


def test_a_clean_up_that_fails_once_is_done_again(place, monkeypatch):
  new, path, rest = place
  _failing(monkeypatch, OSError(16, 'busy'), {3})
  directory_swap.replace(new, path, rest)
  assert (_content(path), _content(rest)) == ('new', 'old')
  assert not directory_swap.backup_of(path).exists()


_KILLED = """
import importlib.util, os, pathlib, signal, sys
spec = importlib.util.spec_from_file_location('swap', sys.argv[1])
swap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(swap)
real, calls = os.rename, []
def rename(source, target):
  calls.append(target)
  if len(calls) == 2:
    os.kill(os.getpid(), signal.SIGKILL)
  real(source, target)
os.rename = rename
swap.replace(*map(pathlib.Path, sys.argv[2:]))
"""


def test_a_process_killed_between_the_renames_leaves_the_backup(place):
  _, path, _ = place
  # The file alone, since TensorFlow takes seconds to load.
  file = directory_swap.__file__
  killed = subprocess.run([sys.executable, '-c', _KILLED, file, *place])
  assert killed.returncode < 0
  assert not path.exists()
  assert _content(directory_swap.backup_of(path)) == 'old'
  assert directory_swap.restore(path) and _content(path) == 'old'


def test_a_link_is_replaced_and_not_what_it_leads_to(place):
  new, old, rest = place
  link = old.with_name('link')
  link.symlink_to(old)
  directory_swap.replace(new, link, rest)
  assert (_content(link), _content(old)) == ('new', 'old')


def test_an_export_that_cannot_take_the_place_leaves_the_old_one(
  tmp_path, monkeypatch
):
  path = _made(tmp_path / 'model', 'old')
  _failing(monkeypatch, OSError(28, 'No space left'), {2})
  with pytest.raises(OSError, match='No space left'):
    tf_unilth.export_saved_model(toys.dense(), path, overwrite=True)
  assert _content(path) == 'old' and os.listdir(tmp_path) == ['model']


def test_the_next_export_puts_back_what_an_interrupted_one_left(tmp_path):
  path = tmp_path / 'model'
  _made(directory_swap.backup_of(path), 'old')
  with (
    pytest.warns(UserWarning, match='interrupted.*put back'),
    pytest.raises(FileExistsError, match='overwrite=True'),
  ):
    tf_unilth.export_saved_model(toys.dense(), path)
  assert _content(path) == 'old'
  pathlib.Path(path).rename(directory_swap.backup_of(path))
  with pytest.warns(UserWarning, match='interrupted.*put back'):
    tf_unilth.export_saved_model(toys.dense(), path, overwrite=True)
  assert (path / 'saved_model.pb').exists()
  assert os.listdir(tmp_path) == ['model']
