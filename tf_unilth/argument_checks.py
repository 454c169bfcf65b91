"""What the public API is given, checked in one way, at once and in words.

Each function returns the argument as a plain value of Python's, which files
and configurations can hold, or raises an error that names the argument, its
value and what is allowed.
"""

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LONGEST = 80  # Characters of a value in a message.
_BEYOND = 1 << 63  # Of what TensorFlow counts with.


def format_value(value: Any) -> str:
  """Returns a value as a message of one line shows it.

  >>> format_value('a' * 1000)[-9:], format_value([1, 2])
  ('aaaaaa...', '[1, 2]')
  """
  try:
    text = ' '.join(repr(value).split())
  except ValueError:  # Python writes no number of more than 4300 digits.
    return f'a huge {type(value).__name__}'
  return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 3]}...'


def check_int(name: str, value: Any, least: int, none: bool = False) -> Any:
  """Returns a whole number of at least `least`; `True` is none.

  Args:
    name: of the argument.
    value: as it was given.
    least: the smallest that is allowed.
    none: whether `None` is allowed too.

  >>> check_int('rounds', np.int64(3), 1)
  3
  >>> check_int('rounds', None, 1, none=True)
  >>> check_int('rounds', 2.5, 1)
  Traceback (most recent call last):
  ValueError: rounds must be a whole number >= 1, but is 2.5.
  """
  if none and value is None:
    return None
  fits = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not fits or not least <= value < _BEYOND:
    below = ' and < 2^63' if fits and value >= least else ''
    raise argument_error(name, f'a whole number >= {least}{below}', value, none)
  return int(value)


def check_float(name: str, value: Any, allowed: str, none: bool = False) -> Any:
  """Returns a finite number of an interval.

  Args:
    name: of the argument.
    value: as it was given.
    allowed: as in `[0, 1)`; `inf` for no upper end.
    none: whether `None` is allowed too.

  >>> check_float('limit', np.float64(0.5), '[0, inf)')
  0.5
  >>> check_float('limit', math.nan, '[0, inf)')
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
  raise argument_error(name, words, value, none)


def _is_finite(value: Any) -> bool:
  try:
    return math.isfinite(value)
  except OverflowError:  # A whole number that no float can hold.
    return False


def check_option(
  name: str, value: Any, options: Sequence[Any], none: bool = False
) -> Any:
  """Returns one of some strings or whole numbers.

  >>> check_option('pace', 'slow', ('cubic', 'geometric'))
  Traceback (most recent call last):
  ValueError: pace must be one of ('cubic', 'geometric'), but is 'slow'.
  """
  if none and value is None:
    return None
  if isinstance(value, str | int | np.integer) and value in options:
    return options[options.index(value)]
  raise argument_error(name, f'one of {tuple(options)}', value, none)


def check_bool(name: str, value: Any) -> bool:
  """Returns a bool; `'False'` is none, though Python takes it for true.

  >>> check_bool('overwrite', 'no')
  Traceback (most recent call last):
  ValueError: overwrite must be True or False, but is 'no'.
  """
  if isinstance(value, bool | np.bool_):
    return bool(value)
  raise argument_error(name, 'True or False', value)


def check_str(name: str, value: Any, none: bool = False) -> Any:
  """Returns a string with something in it."""
  if (none and value is None) or (isinstance(value, str) and value):
    return value
  raise argument_error(name, 'a string that is not empty', value, none)


def check_json(name: str, value: Any) -> dict[str, Any]:
  """Returns a mapping as a JSON file gives it back.

  >>> check_json('config', {'sizes': (1, 2)})
  {'sizes': [1, 2]}
  >>> check_json('config', 'fast')
  Traceback (most recent call last):
  ValueError: config must be a mapping, but is 'fast'.
  """
  if not isinstance(value, Mapping):
    raise argument_error(name, 'a mapping', value)
  try:
    return json.loads(json.dumps(dict(value), allow_nan=False))
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{name} must be what JSON can hold, but is {format_value(value)}: '
      f'{error}.'
    ) from None


def argument_error(
  name: str, words: str, value: Any, none: bool = False
) -> ValueError:
  either = 'None or ' if none else ''
  return ValueError(
    f'{name} must be {either}{words}, but is {format_value(value)}.'
  )
