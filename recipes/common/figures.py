"""Figures as PNG files in one style; they need matplotlib."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recipes.common import files

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, RED, GREEN, GREY = '#0072B2', '#D55E00', '#009E73', '#666666'
# For lines of one panel.
SERIES = (
  *(RED, BLUE, '#56B4E9', GREEN, '#CC79A7', '#E69F00'),
  *('#999999', '#000000', '#8C6D31'),
)
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
  """Returns whether matplotlib is installed."""
  return importlib.util.find_spec('matplotlib') is not None


@contextlib.contextmanager
def styled() -> Iterator[Any]:
  """Yields matplotlib's pyplot, with our style and without a display."""
  import matplotlib  # Slow to import, and an extra.

  matplotlib.use('Agg')
  from matplotlib import pyplot

  with pyplot.rc_context(_STYLE):
    yield pyplot


def save(pyplot: Any, figure: Any, path: pathlib.Path) -> None:
  """Writes a figure and closes it.

  Raises:
    OSError: it cannot be written; the message names the file.
  """
  try:
    figure.savefig(path, dpi=_DPI, metadata={'Software': None})
  except OSError as error:
    raise files.named_error(error, path) from None
  finally:
    pyplot.close(figure)


def zoom(
  axis: Any, curves: Sequence[Sequence[float]], share: float = 0.03
) -> None:
  """Limits an axis in percent to its curves, without their lowest values.

  Args:
    axis: of matplotlib.
    curves: accuracies in [0, 1].
    share: of the values, the lowest, that are left out, in [0, 1).
  """
  values = 100 * np.concatenate([curve for curve in curves])
  low = np.quantile(values, share)
  span = max(values.max() - low, 1.0)
  axis.set_ylim(max(low - 0.1 * span, 0), min(values.max() + 0.1 * span, 101))
