"""What the documentation says of stopping early is what comes out."""

import doctest
import pathlib

import numpy as np
import pytest

from recipes import early_stopping

_PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'early_stopping.md'


def test_its_examples_run():
  assert doctest.testmod(early_stopping).failed == 0
  assert doctest.testmod(early_stopping).attempted > 3


def test_the_page_has_the_table():
  assert '\n'.join(early_stopping.table()) in _PAGE.read_text()


@pytest.mark.parametrize('start', [np.zeros(25), np.full(25, 0.7)])
def test_both_agree_where_little_is_learned(start):
  loss = early_stopping.example()
  steps, size = 3, 0.01  # All curvatures are at most 1.
  moved = loss.stopped(start, size, steps) - start
  ridge = loss.ridge(start, 1 / (steps * size)) - start
  assert np.linalg.norm(moved - ridge) < 0.02 * np.linalg.norm(ridge)


def test_from_elsewhere_it_is_ridge_around_the_start():
  start = np.random.default_rng(3).normal(size=25)
  for steps in (3, 30, 300):
    to_0, to_start = early_stopping.distances(
      early_stopping.example(), start, steps
    )
    assert to_start < 0.5 * to_0


def test_shares_differ_by_a_fifth_at_most():
  x = np.geomspace(1e-3, 1e3, 1000)
  apart = (1 - np.exp(-x)) - x / (1 + x)
  assert 0.19 < apart.max() < 0.21 and apart.min() > -1e-9


def test_it_draws(tmp_path):
  early_stopping.draw(tmp_path / 'drawn.png')
  assert (tmp_path / 'drawn.png').stat().st_size > 20_000
