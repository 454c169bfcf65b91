"""Samples that show the ranges of a model's activations, as users give them."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.export.model_inputs import Arrays, ModelInputs

MOST = 500  # Samples that are read of what yields them.
_NAME = 'representative_data'


def read(takes: ModelInputs, data: Any) -> tuple[list[Arrays], int]:
  """Returns batches of inputs, whatever the samples come as.

  Args:
    takes: what the model takes.
    data: arrays (samples, ...) in the structure that the model takes, or by its
      inputs' names; a `tf.data.Dataset`, batched or not; an iterator, or a
      function that returns one, of such elements. A tuple that does not fit the
      inputs is `(x, y)` or `(x, y, sample_weight)`.

  Returns:
    The batches, and how many samples they hold: all of arrays, of all else
    `MOST`, so that it may be endless.

  Raises:
    ValueError: it holds no samples, or some that the model does not take.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> data = tf.data.Dataset.from_tensors((tf.zeros(3), 1)).repeat()
  >>> batches, count = read(ModelInputs(model), data)
  >>> count, [array.shape for array in batches[0].values()]
  (500, [(1, 3)])
  """
  elements = _elements(data)
  if elements is None:
    batch = _inputs_of(takes, data, sample=False)
    return [batch], _count(batch)
  batches, count = [], 0
  for element in elements:
    batch = _inputs_of(takes, element, sample=True)
    batch = {name: array[: MOST - count] for name, array in batch.items()}
    batches.append(batch)
    count += _count(batch)
    if count >= MOST:
      break
  if not batches:
    raise ValueError(
      f'{_NAME} must hold samples, but {format_value(data)} yields none.'
    )
  return batches, count


def first(batches: list[Arrays], count: int) -> list[Arrays]:
  """Returns the first samples, those of one shape together."""
  found: list[Arrays] = []
  for batch in batches:
    if count <= 0:
      break
    found.append({name: array[:count] for name, array in batch.items()})
    count -= _count(batch)
  return joined(found)


def joined(batches: Iterable[Arrays]) -> list[Arrays]:
  """Returns the same samples, successive batches of one shape as one.

  >>> [a['x'].shape for a in joined([{'x': np.ones((1, 3))}] * 2)]
  [(2, 3)]
  """
  return [
    _concatenated(list(group))
    for _, group in itertools.groupby(batches, _shapes)
  ]


def _concatenated(batches: list[Arrays]) -> Arrays:
  names = list(batches[0])
  return {name: np.concatenate([b[name] for b in batches]) for name in names}


def _shapes(batch: Arrays) -> list[tuple[int, ...]]:
  return [array.shape[1:] for array in batch.values()]


def _count(batch: Arrays) -> int:
  return min(len(array) for array in batch.values())


def _elements(data: Any) -> Iterator[Any] | None:
  """Returns an iterator over what yields samples, `None` for arrays."""
  if isinstance(data, tf.data.Dataset):
    return iter(data)
  function = getattr(data, 'input_gen', data)  # Of tf.lite's own class.
  if callable(function):
    try:
      data = iter(function())
    except TypeError as error:
      raise ValueError(
        f'{_NAME} is {format_value(data)}; a function must take no argument '
        f'and return an iterator: {error}.'
      ) from error
  return data if isinstance(data, Iterator) else None


def _inputs_of(takes: ModelInputs, element: Any, sample: bool) -> Arrays:
  """Returns the inputs of `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
  try:
    return takes.named(element, _NAME, sample)
  except ValueError:
    if not isinstance(element, tuple) or len(element) not in (1, 2, 3):
      raise
    nested = isinstance(element[0], tuple | list | dict)
    if len(element) == len(takes.specs) and not nested:
      raise  # They are the inputs, and one does not fit.
  return takes.named(element[0], _NAME, sample)
