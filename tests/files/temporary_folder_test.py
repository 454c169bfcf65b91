"""Folders for what is written: they go, also where an error is in the way."""

import os
import re

import pytest

from tf_unilth.files.temporary_folder import temporary_folder


def _fail_rmdir(monkeypatch, times):
  real, calls = os.rmdir, []

  def rmdir(path, **arguments):
    calls.append(path)
    if len(calls) <= times:
      raise OSError(5, 'Input/output error', path)
    real(path, **arguments)

  monkeypatch.setattr(os, 'rmdir', rmdir)


@pytest.mark.parametrize('times', [0, 1])
def test_it_goes_also_after_an_error(tmp_path, monkeypatch, times):
  _fail_rmdir(monkeypatch, times)
  with pytest.raises(KeyError), temporary_folder(tmp_path / 'model') as folder:
    (folder / 'content').write_text('x')
    assert folder.parent == tmp_path
    raise KeyError
  assert not os.listdir(tmp_path)


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
  _fail_rmdir(monkeypatch, 99)
  folder = temporary_folder(tmp_path / 'model')
  with pytest.warns(UserWarning, match=re.escape(str(tmp_path))), folder:
    pass
