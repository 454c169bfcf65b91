"""Values that an argument may have, and values that it must refuse."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Made:
  """A value that is made where it is used, known by a name."""

  name: str
  make: Callable[[], Any]

  def __repr__(self) -> str:
    return self.name


def value_of(drawn: Any) -> Any:
  """Returns what a drawn value stands for."""
  return drawn.make() if isinstance(drawn, Made) else drawn


@dataclasses.dataclass(frozen=True)
class Argument:
  """What an argument may be, and what it must not be."""

  good: tuple[Any, ...]
  bad: tuple[Any, ...]

  def or_none(self) -> 'Argument':
    """Returns the same, but `None` is allowed."""
    good = (None, None, *self.good)
    return Argument(good, tuple(v for v in self.bad if v is not None))


NAN, _INF = math.nan, math.inf
ODD = (
  'magic',
  '',
  b'1',
  [],
  [1, 2],
  {},
  {'a': 1},
  object,
  1j,
  np.ones((2, 3)),
  np.complex64(0.5),
  Made('a tensor', lambda: tf.constant([1.0, 2.0])),
  '1' * 5000,
)


def whole(least: int, *usual: int) -> Argument:
  return Argument(
    (*usual, least, np.int64(least + 1), np.int32(least + 2), np.uint8(5)),
    (
      *(least - 1, -7, np.int64(least - 1), -(10**30), 10**30, 10**5000),
      *(1.5, 2.0, np.float32(3), NAN, _INF, True, False, np.bool_(1), '3'),
      *(*ODD, None),
    ),
  )


def number(
  good: tuple[float, ...], outside: tuple[float, ...] = ()
) -> Argument:
  return Argument(
    (*good, *(kind(good[0]) for kind in (np.float32, np.float64))),
    (
      *outside,
      *(NAN, np.float32('nan'), -_INF, _INF, -0.5, -1, -1e300, True, '0.5'),
      *(*ODD, None),
    ),
  )


def fraction(zero: bool, one: bool, *usual: float) -> Argument:
  ends = (*(0.0, 0) * zero, *(1.0, 1) * one)
  out = (*(0.0, 0) * (not zero), *(1.0, 1) * (not one), 1.5, 95, 1e300, 10**400)
  return number((*usual, 0.3, 1e-9, 1 - 1e-9, *ends), out)


def one_of(*names: Any) -> Argument:
  near = [f'{name}s' for name in names]
  return Argument(names, (*near, *ODD, 7, -1, NAN, None))


TRUTH = Argument((True, False), ('no', 'False', 2, -1, None, *ODD))


VERBOSE = Argument((0, 0, 1, 2), (-1, 3, 1.5, 'auto', None, *ODD))


JSON = Argument(
  ({}, {'batch': 8}, {'a': [1, 'b', None]}),
  ({'a': NAN}, {'a': object}, {'a': np.ones(2)}, 'x', 7, [1], NAN),
)
