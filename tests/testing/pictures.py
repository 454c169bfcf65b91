"""What a plot shows, told from its pixels."""

import pathlib

from matplotlib import image


def coloured_share(path: pathlib.Path) -> float:
  """Returns the share of the pixels of a plot that are in a strong colour.

  Axes, labels and grids are grey: a plot without lines and bars has a share
  of 0.

  Args:
    path: of a PNG.
  """
  pixels = image.imread(path)[..., :3]
  return float((pixels.max(-1) - pixels.min(-1) > 0.5).mean())
