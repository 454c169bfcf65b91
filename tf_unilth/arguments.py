"""What the public API is given, checked in one way, at once and in words.

Each function returns the argument as a plain value of Python's, which files
and configurations can hold, or raises an error that names the argument, its
value and what is allowed.
"""

import json
import math
import numbers
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LONGEST = 80  # Characters of a value in a message.
_BEYOND = 1 << 63  # Of what TensorFlow counts with.


def shown(value: Any) -> str:
  """Returns a value as a message of one line shows it.

  >>> shown('a' * 1000)[-9:], shown([1, 2])
  ('aaaaaa...', '[1, 2]')
  """
  try:
    text = ' '.join(repr(value).split())
  except ValueError:  # Python writes no number of more than 4300 digits.
    return f'a huge {type(value).__name__}'
  return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 3]}...'


def whole(name: str, value: Any, least: int, none: bool = False) -> Any:
  """Returns a whole number of at least `least`; `True` is none.

  Args:
    name: of the argument.
    value: as it was given.
    least: the smallest that is allowed.
    none: whether `None` is allowed too.

  >>> whole('rounds', np.int64(3), 1), whole('rounds', None, 1, none=True)
  (3, None)
  >>> whole('rounds', 2.5, 1)
  Traceback (most recent call last):
  ValueError: rounds must be a whole number >= 1, but is 2.5.
  """
  if none and value is None:
    return None
  fits = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not fits or not least <= value < _BEYOND:
    below = ' and < 2^63' if fits and value >= least else ''
    raise _error(name, f'a whole number >= {least}{below}', value, none)
  return int(value)


def number(name: str, value: Any, allowed: str, none: bool = False) -> Any:
  """Returns a finite number of an interval.

  Args:
    name: of the argument.
    value: as it was given.
    allowed: as in `[0, 1)`; `inf` for no upper end.
    none: whether `None` is allowed too.

  >>> number('limit', np.float64(0.5), '[0, inf)')
  0.5
  >>> number('limit', math.nan, '[0, inf)')
  Traceback (most recent call last):
  ValueError: limit must be a finite number >= 0, but is nan.
  """
  if none and value is None:
    return None
  low, high = map(float, allowed[1:-1].split(','))
  is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  above = is_real and (value >= low if allowed[0] == '[' else value > low)
  below = is_real and (value <= high if allowed[-1] == ']' else value < high)
  if above and below and _is_finite(value):
    return value.item() if isinstance(value, np.generic) else value
  words = f'{"in" if is_real else "a number in"} {allowed}'
  if math.isinf(high):
    words = f'a finite number {">=" if allowed[0] == "[" else ">"} {low:g}'
  raise _error(name, words, value, none)


def _is_finite(value: Any) -> bool:
  try:
    return math.isfinite(value)
  except OverflowError:  # A whole number that no float can hold.
    return False


def one_of(
  name: str, value: Any, options: Sequence[Any], none: bool = False
) -> Any:
  """Returns one of some strings or whole numbers.

  >>> one_of('pace', 'slow', ('cubic', 'geometric'))
  Traceback (most recent call last):
  ValueError: pace must be one of ('cubic', 'geometric'), but is 'slow'.
  """
  if none and value is None:
    return None
  if isinstance(value, str | int | np.integer) and value in options:
    return options[options.index(value)]
  raise _error(name, f'one of {tuple(options)}', value, none)


def truth(name: str, value: Any) -> bool:
  """Returns a bool; `'False'` is none, though Python takes it for true.

  >>> truth('overwrite', 'no')
  Traceback (most recent call last):
  ValueError: overwrite must be True or False, but is 'no'.
  """
  if isinstance(value, bool | np.bool_):
    return bool(value)
  raise _error(name, 'True or False', value)


def text(name: str, value: Any, none: bool = False) -> Any:
  """Returns a string with something in it."""
  if (none and value is None) or (isinstance(value, str) and value):
    return value
  raise _error(name, 'a string that is not empty', value, none)


def path(name: str, value: Any) -> pathlib.Path:
  """Returns a path.

  >>> path('directory', '')
  Traceback (most recent call last):
  ValueError: directory must be a path that is not empty, but is ''.
  """
  if not isinstance(value, str | os.PathLike):
    raise TypeError(f'{name} must be a path, but is {shown(value)}.')
  place = os.fspath(value)
  if not isinstance(place, str) or not place or '\0' in place:
    raise _error(name, 'a path that is not empty', value)
  return pathlib.Path(place)


def folder(name: str, value: Any) -> pathlib.Path:
  """Returns the path of a folder, which need not be there yet.

  Raises:
    OSError: there can be none, since a file is in its way.
  """
  place = path(name, value)
  _check_way(name, place, [place, *place.parents])
  return place


def new_file(name: str, value: Any, overwrite: Any) -> pathlib.Path:
  """Returns the path of what is to be written, whose folder need not be there.

  Raises:
    FileExistsError: it is there, and `overwrite` is not set.
    OSError: its folder cannot be made, since a file is in the way.
  """
  place = path(name, value)
  if not truth('overwrite', overwrite) and os.path.lexists(place):
    raise FileExistsError(
      f'{name} {str(place)!r} exists: choose another, or overwrite=True.'
    )
  _check_way(name, place, list(place.parents))
  return place


def _check_way(
  name: str, place: pathlib.Path, folders: list[pathlib.Path]
) -> None:
  known = next((f for f in folders if os.path.lexists(f)), None)
  if known is not None and not known.is_dir():
    raise NotADirectoryError(
      f'{name} {str(place)!r} cannot be written: {str(known)!r} is no folder.'
    )


def as_json(name: str, value: Any) -> dict[str, Any]:
  """Returns a mapping as a JSON file gives it back.

  >>> as_json('config', {'sizes': (1, 2)})
  {'sizes': [1, 2]}
  >>> as_json('config', 'fast')
  Traceback (most recent call last):
  ValueError: config must be a mapping, but is 'fast'.
  """
  if not isinstance(value, Mapping):
    raise _error(name, 'a mapping', value)
  try:
    return json.loads(json.dumps(dict(value), allow_nan=False))
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{name} must be what JSON can hold, but is {shown(value)}: {error}.'
    ) from None


def _error(name: str, words: str, value: Any, none: bool = False) -> ValueError:
  either = 'None or ' if none else ''
  return ValueError(f'{name} must be {either}{words}, but is {shown(value)}.')
