"""Reads Keras's data handler of a `fit`, and hooks into its epochs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot.fit_introspection import fit_context


def batches_of_fit() -> Iterator[list[np.ndarray]]:
  """Yields the arrays of each batch of one epoch of the running `fit`.

  Yields nothing if the data cannot be read twice.
  """
  handler = fit_context().data_handler
  if handler is None or reads_generator(handler):
    return
  if isinstance(handler._dataset, tf.data.Dataset):
    for batch in handler._dataset.take(handler._inferred_steps or -1):
      yield [np.asarray(tensor) for tensor in tf.nest.flatten(batch)]


def shuffles_arrays(data_handler: Any) -> bool:
  """Returns whether a `fit` shuffles its arrays."""
  return bool(getattr(data_handler._adapter, '_shuffle', False))


def reads_generator(data_handler: Any) -> bool:
  """Returns whether a `fit` reads a Python generator or a Sequence."""
  adapter = data_handler._adapter
  return isinstance(adapter, keras.src.engine.data_adapter.GeneratorDataAdapter)


def wrap_epochs(
  handler: Any,
  enter: Callable[[], None],
  leave: Callable[[], None],
  patches: Patches,
) -> None:
  """Calls functions when a `fit` begins and ends to read data.

  Args:
    handler: the Keras data handler of the `fit`.
    enter: called before the first epoch.
    leave: called after the last epoch, or when `fit` raises an error.
    patches: those of the run.
  """
  enumerate_epochs = handler.enumerate_epochs

  def wrapped_epochs() -> Iterator[tuple[int, Any]]:
    try:
      enter()
      yield from enumerate_epochs()
    finally:  # Also if `fit` raises an error and drops the generator.
      leave()

  patches.set('data handler', handler, 'enumerate_epochs', wrapped_epochs)


def on_death(handler: Any, tell: Callable[[], None], patches: Patches) -> None:
  """Calls a function if a `fit` fails with an error while it reads data.

  Keras calls no callback then. The function runs when Python frees the
  generator of the epochs, after the error has been handled.

  Args:
    handler: the Keras data handler of the `fit`.
    tell: the function. It also runs after a `fit` that was stopped early, where
      it has no effect.
    patches: those of the run.
  """
  enumerate_epochs = handler.enumerate_epochs

  def watched_epochs() -> Iterator[tuple[int, Any]]:
    try:
      yield from enumerate_epochs()
    except GeneratorExit:
      tell()
      raise

  patches.set('data handler', handler, 'enumerate_epochs', watched_epochs)
