"""Reads representative data: samples that calibrate activation ranges."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.export.model_inputs import Arrays, ModelInputs

MOST = 500  # The limit of samples read from a dataset or an iterator.
_NAME = 'representative_data'


def read(model_inputs: ModelInputs, data: Any) -> tuple[list[Arrays], int]:
  """Returns the samples as batches of inputs by name.

  Args:
    model_inputs: the inputs of the model.
    data: arrays (samples, ...) in the model's structure or in a dict by input
      name; a `tf.data.Dataset` of these, batched or not; an iterator over such
      elements, or a function that returns one. A tuple that does not match the
      inputs is read as `(x, y)` or `(x, y, sample_weight)`.

  Returns:
    The batches and the number of their samples: all samples of arrays, and the
    first `MOST` of datasets and iterators, which may be infinite.

  Raises:
    ValueError: there are no samples, or they do not match the model.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> data = tf.data.Dataset.from_tensors((tf.zeros(3), 1)).repeat()
  >>> batches, count = read(ModelInputs(model), data)
  >>> count, [array.shape for array in batches[0].values()]
  (500, [(1, 3)])
  """
  elements = _elements(data)
  if elements is None:
    batch = _without_labels(model_inputs, data, sample=False)
    return [batch], _count(batch)
  batches, count = [], 0
  for element in elements:
    batch = _without_labels(model_inputs, element, sample=True)
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
  """Returns the first samples; joins successive batches of one shape.

  Args:
    batches: inputs by name.
    count: the number of samples to return.
  """
  found: list[Arrays] = []
  for batch in batches:
    if count <= 0:
      break
    found.append({name: array[:count] for name, array in batch.items()})
    count -= _count(batch)
  return joined(found)


def joined(batches: Iterable[Arrays]) -> list[Arrays]:
  """Returns the same samples; joins successive batches of one shape.

  Args:
    batches: inputs by name.

  >>> [a['x'].shape for a in joined([{'x': np.ones((1, 3))}] * 2)]
  [(2, 3)]
  """
  return [
    _concatenate(list(group))
    for _, group in itertools.groupby(batches, _shapes)
  ]


def _concatenate(batches: list[Arrays]) -> Arrays:
  names = list(batches[0])
  return {name: np.concatenate([b[name] for b in batches]) for name in names}


def _shapes(batch: Arrays) -> list[tuple[int, ...]]:
  return [array.shape[1:] for array in batch.values()]


def _count(batch: Arrays) -> int:
  return min(len(array) for array in batch.values())


def _elements(data: Any) -> Iterator[Any] | None:
  """Returns an iterator over a dataset or generator; `None` for arrays."""
  if isinstance(data, tf.data.Dataset):
    return iter(data)
  function = getattr(data, 'input_gen', data)  # tf.lite.RepresentativeDataset.
  if callable(function):
    try:
      data = iter(function())
    except TypeError as error:
      raise ValueError(
        f'{_NAME} is {format_value(data)}; a function must take no argument '
        f'and return an iterator: {error}.'
      ) from error
  return data if isinstance(data, Iterator) else None


def _without_labels(
  model_inputs: ModelInputs, element: Any, sample: bool
) -> Arrays:
  """Returns x of `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
  try:
    return model_inputs.named(element, _NAME, sample)
  except ValueError:
    if not isinstance(element, tuple) or len(element) not in (1, 2, 3):
      raise
    nested = isinstance(element[0], tuple | list | dict)
    if len(element) == len(model_inputs.specs) and not nested:
      raise  # The tuple has the inputs, and one of them does not match.
  return model_inputs.named(element[0], _NAME, sample)
