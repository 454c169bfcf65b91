"""What is written survives a power cut: what is synchronised, and when."""

import errno
import os
import pathlib
import re
import sys

import pytest

from recipes.common import files
from tf_unilth.files import (
  checksummed_file,
  checksummed_json,
  directory_swap,
  synchronization,
)

pytestmark = pytest.mark.skipif(
  not sys.platform.startswith('linux'), reason='reads /proc/self/fd'
)


@pytest.fixture
def calls(monkeypatch):
  """The fsyncs and renames of a test, with the name of what they are for."""
  made = []
  fsync = os.fsync

  def synchronised(descriptor):
    path = pathlib.Path(os.readlink(f'/proc/self/fd/{descriptor}'))
    made.append(('fsync', path.name))
    fsync(descriptor)

  def renaming(real):
    def rename(source, target):
      made.append(('rename', pathlib.Path(target).name))
      real(source, target)

    return rename

  monkeypatch.setattr(os, 'fsync', synchronised)
  monkeypatch.setattr(os, 'rename', renaming(os.rename))
  monkeypatch.setattr(os, 'replace', renaming(os.replace))
  return made


def _fail_fsync_of_folders(monkeypatch, number):
  fsync = os.fsync

  def failing(descriptor):
    if os.path.isdir(f'/proc/self/fd/{descriptor}'):
      raise OSError(number, os.strerror(number))
    fsync(descriptor)

  monkeypatch.setattr(os, 'fsync', failing)


@pytest.mark.parametrize(
  'write',
  [
    lambda path: checksummed_file.write(path, [b'content']),
    lambda path: files.write_text(path, 'content'),
  ],
  ids=['library', 'recipes'],
)
def test_content_before_the_rename_and_the_name_after_it(
  tmp_path, calls, write
):
  write(tmp_path / 'file')
  (first, beside), *rest = calls
  assert first == 'fsync' and beside != 'file' and 'file' in beside
  assert rest == [('rename', 'file'), ('fsync', tmp_path.name)]


def test_new_folders_survive_with_what_is_in_them(tmp_path, calls):
  checksummed_json.write(tmp_path / 'a' / 'b' / 'file', {'x': 1})
  assert set(calls[:2]) == {('fsync', tmp_path.name), ('fsync', 'a')}
  assert calls[-1] == ('fsync', 'b')
  calls.clear()
  checksummed_json.write(tmp_path / 'a' / 'b' / 'file', {'x': 2})
  assert ('fsync', tmp_path.name) not in calls


@pytest.mark.parametrize(
  'make', [synchronization.make_folder, files.make_folder]
)
def test_each_new_folder_is_kept_by_the_one_above(tmp_path, calls, make):
  make(tmp_path / 'a' / 'b')
  assert sorted(calls) == sorted([('fsync', tmp_path.name), ('fsync', 'a')])


@pytest.mark.parametrize(
  'flush', [synchronization.flush_tree, files.flush_tree]
)
def test_a_tree_is_kept_from_its_leaves_on(tmp_path, calls, flush):
  inner = tmp_path / 'tree' / 'inner'
  inner.mkdir(parents=True)
  (inner / 'leaf').write_text('x')
  (inner / 'leaf').chmod(0o400)
  (tmp_path / 'tree' / 'top').write_text('x')
  flush(tmp_path / 'tree')
  names = [name for _, name in calls]
  assert sorted(names) == ['inner', 'leaf', 'top', 'tree']
  assert names.index('leaf') < names.index('inner') and names[-1] == 'tree'


@pytest.mark.parametrize(
  'flush',
  [
    *(synchronization.flush_file, synchronization.flush_folder),
    *(synchronization.flush_tree, files.flush_tree),
  ],
)
def test_an_error_of_fsync_names_the_path(tmp_path, monkeypatch, flush):
  def failing(descriptor):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

  monkeypatch.setattr(os, 'fsync', failing)
  with pytest.raises(OSError, match=re.escape(str(tmp_path))) as raised:
    flush(tmp_path)
  assert raised.value.errno == errno.EIO


def test_a_directory_is_kept_before_the_old_one_goes(tmp_path, calls):
  new, old = tmp_path / 'work' / 'new', tmp_path / 'model'
  for folder in (new, old):
    folder.mkdir(parents=True)
    (folder / 'content').write_text(folder.name)
  directory_swap.replace(new, old, tmp_path / 'work' / 'replaced')
  assert calls == [
    *(('fsync', 'content'), ('fsync', 'new')),
    *(('rename', '.model.previous'), ('rename', 'model')),
    *(('fsync', tmp_path.name), ('rename', 'replaced')),
  ]


def test_a_directory_whose_name_cannot_be_kept_gives_way_to_the_old_one(
  tmp_path, monkeypatch
):
  new, old = tmp_path / 'work' / 'new', tmp_path / 'model'
  for folder in (new, old):
    folder.mkdir(parents=True)
    (folder / 'content').write_text(folder.name)
  flush = synchronization.flush_folder

  def failing(path):
    if path == tmp_path:
      raise OSError(errno.EIO, 'Input/output error')
    flush(path)

  monkeypatch.setattr(synchronization, 'flush_folder', failing)
  with pytest.raises(OSError, match='Input/output error'):
    directory_swap.replace(new, old, tmp_path / 'work' / 'replaced')
  assert (old / 'content').read_text() == 'model'
  assert sorted(os.listdir(tmp_path)) == ['model', 'work']


def test_only_a_system_without_fsync_of_folders_is_let_pass(
  tmp_path, monkeypatch
):
  _fail_fsync_of_folders(monkeypatch, errno.EINVAL)
  checksummed_file.write(tmp_path / 'file', [b'1'])
  files.write_text(tmp_path / 'text', '1')
  monkeypatch.undo()
  _fail_fsync_of_folders(monkeypatch, errno.EIO)
  with pytest.raises(OSError, match='Input/output error'):
    checksummed_file.write(tmp_path / 'file', [b'2'])
  with pytest.raises(OSError, match='Input/output error'):
    files.write_text(tmp_path / 'text', '2')
