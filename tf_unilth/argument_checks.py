"""Checks of the arguments of the public API.

Each function returns the argument as a plain Python value, which files and
configs can store, or raises an error that names the argument, its value and
the allowed values.
"""

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_MAX_LENGTH = 80  # Characters of a value in a message.
_INT64_END = 1 << 63  # TensorFlow counts with int64.


def format_value(value: Any) -> str:
  """Returns the `repr` of a value on one line, shortened for a message.

  >>> format_value('a' * 1000)[-9:], format_value([1, 2])
  ('aaaaaa...', '[1, 2]')
  """
  try:
    text = ' '.join(repr(value).split())
  except ValueError:  # Python formats no integer of more than 4300 digits.
    return f'a huge {type(value).__name__}'
  return text if len(text) <= _MAX_LENGTH else f'{text[: _MAX_LENGTH - 3]}...'


def check_int(name: str, value: Any, least: int, none: bool = False) -> Any:
  """Returns an integer in [least, 2^63); a bool is not an integer here.

  Args:
    name: the name of the argument.
    value: the value that was passed.
    least: the smallest allowed value.
    none: whether `None` is allowed.

  Raises:
    ValueError: the value is not allowed.

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
  if not fits or not least <= value < _INT64_END:
    below = ' and < 2^63' if fits and value >= least else ''
    raise argument_error(name, f'a whole number >= {least}{below}', value, none)
  return int(value)


def check_float(name: str, value: Any, allowed: str, none: bool = False) -> Any:
  """Returns a finite real number in an interval.

  Args:
    name: the name of the argument.
    value: the value that was passed.
    allowed: the interval, such as `[0, 1)`; `inf` means no upper bound.
    none: whether `None` is allowed.

  Raises:
    ValueError: the value is not allowed.

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
  except OverflowError:  # An integer beyond the range of a float.
    return False


def check_option(
  name: str, value: Any, options: Sequence[Any], none: bool = False
) -> Any:
  """Returns the element of `options` that equals the value.

  Args:
    name: the name of the argument.
    value: the value that was passed.
    options: the allowed strings or integers.
    none: whether `None` is allowed.

  Raises:
    ValueError: the value is not allowed.

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
  """Returns a bool; rejects other values, such as the truthy `'False'`.

  Args:
    name: the name of the argument.
    value: the value that was passed.

  Raises:
    ValueError: the value is not a bool.

  >>> check_bool('overwrite', 'no')
  Traceback (most recent call last):
  ValueError: overwrite must be True or False, but is 'no'.
  """
  if isinstance(value, bool | np.bool_):
    return bool(value)
  raise argument_error(name, 'True or False', value)


def check_str(name: str, value: Any, none: bool = False) -> Any:
  """Returns a non-empty string.

  Args:
    name: the name of the argument.
    value: the value that was passed.
    none: whether `None` is allowed.

  Raises:
    ValueError: the value is not allowed.
  """
  if (none and value is None) or (isinstance(value, str) and value):
    return value
  raise argument_error(name, 'a string that is not empty', value, none)


def check_json(name: str, value: Any) -> dict[str, Any]:
  """Returns a mapping as a JSON file restores it.

  Args:
    name: the name of the argument.
    value: the value that was passed.

  Raises:
    ValueError: the value is not a mapping or not serializable as JSON.

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
      f'{name} must be serializable as JSON, but is {format_value(value)}: '
      f'{error}.'
    ) from None


def argument_error(
  name: str, words: str, value: Any, none: bool = False
) -> ValueError:
  """Returns the error for an argument that is not allowed.

  Args:
    name: the name of the argument.
    words: the allowed values.
    value: the value that was passed.
    none: whether `None` is allowed.
  """
  either = 'None or ' if none else ''
  return ValueError(
    f'{name} must be {either}{words}, but is {format_value(value)}.'
  )
