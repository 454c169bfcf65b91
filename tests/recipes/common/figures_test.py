"""Figures that are written."""

import errno
import os
import re

import pytest

from recipes.common import figures


def test_an_error_of_writing_names_the_file(tmp_path, monkeypatch):
  figure = pytest.importorskip('matplotlib.figure')

  def full(*_, **__):  # As a write says it, which knows no path.
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(figure.Figure, 'savefig', full)
  path = tmp_path / 'a.png'
  with figures.styled() as pyplot:
    made = pyplot.figure()
    with pytest.raises(OSError, match=re.escape(str(path))) as raised:
      figures.save(pyplot, made, path)
  assert raised.value.errno == errno.ENOSPC
  assert made.number not in pyplot.get_fignums()  # Other tests may leave some.
