"""Shows that early stopping acts as L2 regularization around the start.

  python -m recipes.early_stopping --plot=early_stopping.png

The loss is J(w) = (w - w*)^T H (w - w*) / 2. Gradient descent of step size e
that stops after t steps is set beside the minimum of J(w) + |w - c|^2 l / 2,
ridge regression around c, with l = 1 / (t e).
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from recipes.common import figures, tables

_PLOT = flags.DEFINE_string('plot', None, 'PNG file to draw the plot to.')

_DIRECTIONS, _STEP_SIZE = 25, 0.5
_STEPS = (3, 10, 30, 100, 300, 1000)


@dataclasses.dataclass(frozen=True)
class Quadratic:
  """J(w) = (w - optimum)^T hessian (w - optimum) / 2.

  Args:
    hessian: H, symmetric and positive definite, [n, n].
    optimum: w*, [n].
  """

  hessian: np.ndarray
  optimum: np.ndarray

  def stopped(
    self, start: np.ndarray, step_size: float, steps: int
  ) -> np.ndarray:
    """Returns where gradient descent is after some steps, [n].

    Args:
      start: where it begins, [n].
      step_size: e, below 2 / the largest eigenvalue of H.
      steps: t, at least 0.

    >>> valley = Quadratic(np.diag([1.0, 0.01]), np.ones(2))
    >>> valley.stopped(np.zeros(2), 0.5, 10).round(3)
    array([0.999, 0.049])
    """
    weights = np.array(start, float)
    for _ in range(steps):
      weights -= step_size * self.hessian @ (weights - self.optimum)
    return weights

  def ridge(self, centre: np.ndarray, penalty: float) -> np.ndarray:
    """Returns argmin J(w) + penalty |w - centre|^2 / 2, [n].

    >>> valley = Quadratic(np.diag([1.0, 0.01]), np.ones(2))
    >>> valley.ridge(np.zeros(2), 1 / (0.5 * 10)).round(3)
    array([0.833, 0.048])
    """
    damped = self.hessian + penalty * np.eye(len(self.optimum))
    return np.linalg.solve(
      damped, self.hessian @ self.optimum + penalty * np.asarray(centre)
    )


def example(seed: int = 0) -> Quadratic:
  """Returns a loss of curvatures from 0.001 to 1, in random directions."""
  random = np.random.default_rng(seed)
  axes, _ = np.linalg.qr(random.normal(size=(_DIRECTIONS, _DIRECTIONS)))
  curvatures = np.geomspace(1e-3, 1, _DIRECTIONS)
  return Quadratic(axes * curvatures @ axes.T, random.normal(size=_DIRECTIONS))


def distances(
  loss: Quadratic, start: np.ndarray, steps: int
) -> tuple[float, float]:
  """Returns how far stopped descent is from ridge around 0 and the start.

  In units of the distance between start and optimum.

  Args:
    loss: what is minimised.
    start: where descent begins, [n].
    steps: after how many it stops.
  """
  stopped = loss.stopped(start, _STEP_SIZE, steps)
  penalty = 1 / (steps * _STEP_SIZE)
  whole = np.linalg.norm(loss.optimum - start)
  around_0, around_start = (
    float(np.linalg.norm(stopped - loss.ridge(centre, penalty)) / whole)
    for centre in (np.zeros_like(start), start)
  )
  return around_0, around_start


def table() -> list[str]:
  """Returns the distances from two starts as lines of a table."""
  loss = example()
  start = np.random.default_rng(1).normal(size=_DIRECTIONS)
  rows = []
  for steps in _STEPS:
    _, from_0 = distances(loss, np.zeros(_DIRECTIONS), steps)
    to_0, to_start = distances(loss, start, steps)
    differences = (f'{d:.3f}' for d in (from_0, to_0, to_start))
    rows.append((steps, f'{1 / (steps * _STEP_SIZE):.2g}', *differences))
  headers = (
    'steps',
    'lambda',
    'from 0, to ridge around 0',
    'from elsewhere, to ridge around 0',
    'from elsewhere, to ridge around the start',
  )
  return tables.markdown(headers, rows)


def draw(path: pathlib.Path) -> None:
  """Draws what both learn per direction, and their paths from a start."""
  with figures.styled() as pyplot:
    figure, (left, right) = pyplot.subplots(
      1, 2, figsize=(11, 4.8), layout='constrained'
    )
    _draw_shares(left)
    _draw_paths(right)
    figures.save(pyplot, figure, path)


def _draw_shares(axis: Any) -> None:
  """Draws the share of the optimum that each direction has learned."""
  loss, steps = example(), 30
  curvatures, axes = np.linalg.eigh(loss.hessian)
  x = curvatures * steps * _STEP_SIZE
  optimum = axes.T @ loss.optimum
  for label, found, colour, marker in (
    (
      'stopped after t steps',
      loss.stopped(np.zeros(_DIRECTIONS), _STEP_SIZE, steps),
      figures.BLUE,
      'o',
    ),
    (
      'ridge, lambda = 1 / (t e)',
      loss.ridge(np.zeros(_DIRECTIONS), 1 / (steps * _STEP_SIZE)),
      figures.RED,
      's',
    ),
  ):
    share = axes.T @ found / optimum
    axis.plot(x, share, marker, color=colour, label=label, markersize=5)
  axis.set_xscale('log')
  axis.set_xlabel('curvature x t x e')
  axis.set_ylabel('share of the way from 0 to the optimum')
  axis.set_title('from the origin', loc='left', fontsize=11)
  axis.legend()


def _draw_paths(axis: Any) -> None:
  """Draws where descent and both ridges go in a plane, from a start not 0."""
  loss = Quadratic(np.diag([1.0, 0.08]), np.array([2.0, 1.5]))
  start = np.array([2.6, -1.2])
  grid = np.meshgrid(np.linspace(-0.5, 3.4, 120), np.linspace(-1.8, 2.2, 120))
  offset = [g - o for g, o in zip(grid, loss.optimum)]
  values = offset[0] ** 2 / 2 + 0.08 * offset[1] ** 2 / 2
  axis.contour(*grid, values**0.5, 12, colors='#CCCCCC', linewidths=0.8)
  steps = np.unique(np.geomspace(1, 400, 60).astype(int))
  _line(
    axis,
    [start, *(loss.stopped(start, _STEP_SIZE, t) for t in steps)],
    figures.BLUE,
    'stopped after t steps',
  )
  for centre, colour, label in (
    (start, figures.RED, 'ridge around the start'),
    (np.zeros(2), figures.GREEN, 'ridge around 0'),
  ):
    ridges = [loss.ridge(centre, 1 / (t * _STEP_SIZE)) for t in steps]
    _line(axis, ridges, colour, label)
  for point, name in ((start, 'start'), (loss.optimum, 'w*'), ((0, 0), '0')):
    axis.plot(*point, 'o', color='black', markersize=4)
    axis.annotate(name, point, xytext=(6, 4), textcoords='offset points')
  axis.grid(visible=False)
  axis.set_xlabel('w1, of curvature 1')
  axis.set_ylabel('w2, of curvature 0.08')
  axis.set_title('from weights that are not 0', loc='left', fontsize=11)
  axis.legend(loc='lower left')


def _line(
  axis: Any, points: Sequence[np.ndarray], colour: str, label: str
) -> None:
  axis.plot(*np.transpose(points), '.-', color=colour, label=label, lw=1.2)


def _main(_: Sequence[str]) -> None:
  print('\n'.join(table()))
  if _PLOT.value:
    draw(pathlib.Path(_PLOT.value))


if __name__ == '__main__':
  app.run(_main)
