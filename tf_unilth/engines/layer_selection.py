"""Finds the layers that an argument selects, for models of either Keras."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

from tf_unilth.argument_checks import format_value
from tf_unilth.engines import which_keras

Selector: TypeAlias = str | re.Pattern[str] | Any | Callable[[Any], bool]

_OTHER_SELECTORS = (
  'Compiled regular expressions and functions of a layer are allowed too.'
)


def find_layers(
  layers: Sequence[Any],
  selectors: Any,
  argument: str,
  model_name: str,
  base: type,
) -> list[Any]:
  """Returns the layers that an argument selects, each once.

  Args:
    layers: the layers to select from, each once.
    selectors: one selector or several. A selector is a layer; the exact name
      of a layer; a compiled regular expression that is searched for in the
      names (`re.search`), as in `filters` of Keras's `Model.quantize`; or a
      function that takes a layer and returns a boolean.
    argument: the name of the argument, for error messages.
    model_name: the name of the model, for error messages.
    base: the class `Layer` of the model's Keras.

  Raises:
    TypeError: a selector has another type.
    ValueError: a selector matches no layer.

  >>> layers = [keras.layers.Dense(2, name=name) for name in ('a1', 'a2', 'b')]
  >>> def names(selectors):
  ...   found = find_layers(layers, selectors, 'skip', 'm', keras.layers.Layer)
  ...   return [layer.name for layer in found]
  >>> names([re.compile('^a'), 'b'])
  ['a1', 'a2', 'b']
  >>> names(lambda layer: layer.units == 2)
  ['a1', 'a2', 'b']
  """
  if is_selector(selectors, base):
    selectors = [selectors]
  if not isinstance(selectors, Iterable) or isinstance(selectors, bytes):
    _raise_type_error(argument, 'is', selectors, base)
  found: dict[Any, None] = {}
  for selector in selectors:
    if not is_selector(selector, base):
      _raise_type_error(argument, 'has', selector, base)
    matches = [layer for layer in layers if _matches(selector, layer, base)]
    if not matches:
      raise ValueError(
        f'{argument} {_describe_unmatched(selector, base)} {model_name!r}'
        f'{_suggestion(selector, layers, base)}'
      )
    found.update(dict.fromkeys(matches))
  return list(found)


def is_selector(value: Any, base: type) -> bool:
  """Returns whether a value is one selector, rather than several."""
  if isinstance(value, re.Pattern):
    return isinstance(value.pattern, str)
  return is_layer_or_name(value, base) or _is_predicate(value)


def is_layer_or_name(selector: Any, base: type) -> bool:
  """Returns whether a selector is a layer or the name of a layer."""
  return isinstance(selector, (str, base))


def _is_predicate(value: Any) -> bool:
  # Classes and layers of Keras 3 are callable too. A layer class would create
  # a new layer for each layer of the model.
  if isinstance(value, type | Iterable):
    return False
  return callable(value) and not hasattr(value, 'get_config')


def _raise_type_error(
  argument: str, verb: str, value: Any, base: type
) -> NoReturn:
  is_of_keras = hasattr(value, 'get_config') and not isinstance(value, type)
  if is_of_keras and not isinstance(value, base):
    package = base.__module__.split('.')[0]
    raise which_keras.wrong_keras_error(value, argument, 'Layer', package)
  raise TypeError(
    f'{argument} must be layers or names of layers, but {verb} '
    f'{format_value(value)}. {_OTHER_SELECTORS}'
  )


def _matches(selector: Selector, layer: Any, base: type) -> bool:
  if isinstance(selector, str):
    return layer.name == selector
  if isinstance(selector, base):
    return layer is selector
  if isinstance(selector, re.Pattern):
    return selector.search(layer.name) is not None
  return bool(selector(layer))


def _describe_unmatched(selector: Selector, base: type) -> str:
  """Returns the words of an error for a selector that matches no layer."""
  if isinstance(selector, re.Pattern):
    return f'has the pattern {selector.pattern!r}, which matches no layer of'
  if is_layer_or_name(selector, base):
    return f'names {_name(selector)!r}, which is no layer of'
  return f'has {selector!r}, which is true of no layer of'


def _suggestion(selector: Selector, layers: Iterable[Any], base: type) -> str:
  names = [layer.name for layer in layers]
  if not is_layer_or_name(selector, base):
    return f': it must match at least one of {format_value(names)}'
  similar = difflib.get_close_matches(_name(selector), names)
  return f': do you mean one of {similar}?' if similar else '.'


def _name(selector: Any) -> str:
  return selector if isinstance(selector, str) else selector.name
