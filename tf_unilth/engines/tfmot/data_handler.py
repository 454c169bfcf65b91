"""Keras's data handler of a fit: what it reads, and hooks around its epochs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.tfmot.fit_introspection import fit_arguments


def batches_of_fit() -> Iterator[list[np.ndarray]]:
  """Yields the arrays of each batch of an epoch of the `fit` that is running.

  None, if they cannot be read twice.
  """
  handler = fit_arguments().get('data_handler')
  if handler is None or reads_generator(handler):
    return
  if isinstance(handler._dataset, tf.data.Dataset):
    for batch in handler._dataset.take(handler._inferred_steps or -1):
      yield [np.asarray(tensor) for tensor in tf.nest.flatten(batch)]


def shuffles_arrays(data_handler: Any) -> bool:
  """Returns whether a `fit` draws the order of its arrays."""
  return bool(getattr(data_handler._adapter, '_shuffle', False))


def reads_generator(data_handler: Any) -> bool:
  """Returns whether a `fit` reads a Python generator or a Sequence."""
  adapter = data_handler._adapter
  return isinstance(adapter, keras.src.engine.data_adapter.GeneratorDataAdapter)


def wrap_epochs(
  handler: Any, enter: Callable[[], None], leave: Callable[[], None]
) -> None:
  """Calls functions when a `fit` begins to read data, and when it ends.

  Args:
    handler: Keras's data handler of the `fit`.
    enter: called before the first epoch.
    leave: called after the last, or when `fit` dies.
  """
  enumerate_epochs = handler.enumerate_epochs

  def leaving() -> Iterator[tuple[int, Any]]:
    try:
      enter()
      yield from enumerate_epochs()
    finally:  # Also if `fit` raises and drops the generator.
      leave()

  handler.enumerate_epochs = leaving


def on_death(handler: Any, tell: Callable[[], None]) -> None:
  """Calls a function if a `fit` dies of an error while it reads data.

  Keras tells no callback. It is called when Python drops what the `fit` was
  doing: when the error has been dealt with.

  Args:
    handler: Keras's data handler of the `fit`.
    tell: also called, too late to matter, after a `fit` that was stopped.
  """
  enumerate_epochs = handler.enumerate_epochs

  def watched() -> Iterator[tuple[int, Any]]:
    try:
      yield from enumerate_epochs()
    except GeneratorExit:
      tell()
      raise

  handler.enumerate_epochs = watched
