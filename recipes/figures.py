"""Figures as PNG, in the style of all our plots; they need matplotlib."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator
from typing import Any

_DPI = 120
_STYLE: Any = {
  'font.size': 11,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'grid.color': '#E5E5E5',
  'axes.axisbelow': True,
  'legend.frameon': False,
}


def available() -> bool:
  """Returns whether matplotlib is there."""
  return importlib.util.find_spec('matplotlib') is not None


@contextlib.contextmanager
def styled() -> Iterator[Any]:
  """Yields matplotlib's pyplot, with our style, without a display."""
  import matplotlib  # Slow to import, and an extra.

  matplotlib.use('Agg')
  from matplotlib import pyplot

  with pyplot.rc_context(_STYLE):
    yield pyplot


def save(pyplot: Any, figure: Any, path: pathlib.Path) -> None:
  """Writes a figure and forgets it."""
  figure.savefig(path, dpi=_DPI, metadata={'Software': None})
  pyplot.close(figure)
