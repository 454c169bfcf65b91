"""Scalars, arrays and texts of a description, equal in every process."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_MAX_CHARACTERS = 2000  # Longer JSON is replaced by a digest.


def scalar(value: Any) -> Any:
  """Returns a string without memory addresses, a number that JSON can hold.

  Args:
    value: a string, a number or `None`.

  >>> scalar('<f at 0x7f01>'), scalar(float('inf')), scalar(0.5)
  ('<f>', 'inf', 0.5)
  """
  if isinstance(value, str):
    return re.sub(r' at 0x[0-9a-fA-F]+', '', value)
  if isinstance(value, float) and not math.isfinite(value):
    return repr(value)
  return value


def array(value: Any, has_value: bool = True) -> Any:
  """Returns a number for a single element, else dtype, shape and a digest.

  Args:
    value: an array or tensor. The digest is left out for a tensor of a graph.
    has_value: whether its value may be read; that of a variable changes.
  """
  shape, dtype = tuple(value.shape), getattr(value.dtype, 'name', '')
  try:
    if not has_value:
      raise TypeError('its value changes')
    elements = np.asarray(value)
  except Exception:  # A tensor of a graph has no value.
    return f'{dtype} {shape}'
  if elements.size <= 1 and elements.dtype.kind in 'biuf':
    number = scalar(elements.item())
    return [number] if shape else number
  return f'{dtype} {shape} {digest(elements.tobytes())}'


def shortened(value: Any) -> Any:
  """Returns a digest of a long string or list, any other value as it is.

  Args:
    value: a value that JSON can hold.
  """
  text = value if isinstance(value, str) else None
  if isinstance(value, list):
    text = json.dumps(value)
  if text is None or len(text) <= _MAX_CHARACTERS:
    return value
  return digest(text.encode())


def digest(data: bytes) -> str:
  """Returns a short SHA-256 as text.

  Args:
    data: the bytes to hash.
  """
  return f'sha256 {hashlib.sha256(data).hexdigest()[:16]}'


def flatten(value: Any) -> list[Any]:
  """Returns the leaves of nested lists, tuples and mappings.

  >>> flatten({'b': [1, (2,)], 'a': 3})
  [3, 1, 2]
  """
  if isinstance(value, Mapping):
    value = [value[key] for key in sorted(value, key=str)]
  if isinstance(value, list | tuple):
    return [leaf for item in value for leaf in flatten(item)]
  return [value]


def is_path(value: Any) -> bool:
  """Returns whether a value is a string with a path separator.

  Args:
    value: any value.
  """
  return isinstance(value, str) and os.sep in value


def without_number(values: Mapping[str, Any], name: Any) -> dict[str, Any]:
  """Returns values without paths and without the number of an object's name.

  Keras numbers the names of all objects that a process creates (`dense_3`),
  and some settings contain the name.

  Args:
    values: settings or attributes of the object.
    name: its name, if it has one.

  >>> without_number({'label': 'dense_3_label', 'file': '/a'}, 'dense_3')
  {'label': 'dense_label'}
  """
  found = {n: v for n, v in values.items() if not is_path(v)}
  number = re.search(r'_\d+$', name) if isinstance(name, str) else None
  if number is None:
    return found
  stem = name[: number.start()]
  return {
    n: v.replace(name, stem) if isinstance(v, str) else v
    for n, v in found.items()
  }
