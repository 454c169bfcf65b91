"""TfKerasFitData: moves the data of a `fit` to where a run stopped."""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import callback_list as callback_lists
from tf_unilth.engines.tfmot import data_handler, fit_introspection
from tf_unilth.resume import data_description


class TfKerasFitData:
  """See `resume.training_access.FitData`.

  Args:
    model: the model of the `fit`.
    fit: the running `fit`.
  """

  def __init__(self, model: Any, fit: FitContext):
    self._model, self._fit = model, fit
    self._handler: Any = fit.data_handler

  @property
  def initial_epoch(self) -> int:
    """The `initial_epoch` of the `fit`."""
    return self._handler._initial_epoch

  def steps_of_epoch(self) -> int:
    """Returns the number of steps of an epoch, 0 while it is unknown."""
    return self._handler._inferred_steps or 0

  def shuffles_arrays(self) -> bool:
    """Returns whether the `fit` shuffles its arrays."""
    return data_handler.shuffles_arrays(self._handler)

  def watch(
    self, enter: Callable[[], None], leave: Callable[[], None], patches: Patches
  ) -> None:
    """Calls functions when the `fit` begins to train and when it ends."""
    data_handler.wrap_epochs(self._handler, enter, leave, patches)

  def resume(
    self,
    checkpoint: Any,
    before_epoch: Callable[[Any], None],
    at_end: Callable[[], None],
    patches: Patches,
  ) -> None:
    """Makes the `fit` resume where another one stopped."""
    handler = self._handler
    enumerate_epochs = handler.enumerate_epochs

    def remaining_epochs() -> Iterator[tuple[int, Any]]:
      if checkpoint.finished:
        at_end()
        return
      for number, iterator in enumerate_epochs():
        if number < checkpoint.epoch:
          _skip(handler, iterator, None)
          continue
        if number == checkpoint.epoch:
          if checkpoint.step:
            _skip(handler, iterator, checkpoint.step)
            handler._initial_step = checkpoint.step
          before_epoch(iterator)
        yield number, iterator

    patches.set('data handler', handler, 'enumerate_epochs', remaining_epochs)

  def replay_validation(self, epochs: range) -> None:
    """Advances the seeds of validation data as completed epochs have done."""
    data = self._fit.validation_inputs
    if not isinstance(data, tf.data.Dataset):
      return
    for epoch in epochs:
      if self._model._should_eval(epoch, self._fit.validation_freq):
        for _ in range(2):  # Keras creates two iterators per evaluation.
          iter(data)

  def restores_random_state(self, checkpoint: Any) -> bool:
    """Returns whether the random state of a checkpoint is to be restored.

    Generators and Sequences draw ahead, from Python's and NumPy's generators,
    so that the saved state of those does not belong to one step.
    """
    return (
      self.initial_epoch != checkpoint.first_epoch
      or not data_handler.reads_generator(self._handler)
    )

  def random_states(self) -> dict[str, Any]:
    """Returns nothing: the data are read again with the seeds of the run."""
    return {}

  def describe(self) -> dict[str, Any]:
    """Describes kind, shapes and dtypes of the data in plain values."""
    return data_description.describe(self._handler, self._fit.class_weight)

  def describe_validation(self) -> Any:
    """Returns dtypes and shapes of validation data, `None` if unknown."""
    return data_description.validation(self._fit.validation_parts)

  def contents(self) -> Any:
    """Returns a digest of the training data; `None` if it cannot be read."""
    return data_description.of_handler(self._handler)

  def validation_contents(self) -> Any:
    """Returns the same of the validation data."""
    parts = self._fit.validation_parts
    first = parts[0] if parts[1] is None else parts
    return data_description.contents(first)

  def add_last(self, callback: Any) -> None:
    """Lets Keras call a callback after all others."""
    callback_lists.add_last(self._fit.callback_list, callback)

  def remove(self, callback: Any) -> None:
    """Takes out a callback that `add_last` added."""
    callback_lists.remove(self._fit.callback_list, callback)

  def is_running(self) -> Callable[[], bool]:
    """Returns a function that returns whether the `fit` still runs."""
    of_fit = weakref.ref(self._handler)
    return lambda: fit_introspection.is_running(of_fit())


def _skip(handler: Any, iterator: Any, steps: int | None) -> None:
  """Reads `steps` batches; `None`: those of a whole epoch."""
  steps = steps or handler._inferred_steps
  if steps is not None:
    for _ in range(steps):
      next(iterator)
    return
  read = 0
  with contextlib.suppress(StopIteration, tf.errors.OutOfRangeError):
    while True:
      next(iterator)
      read += 1
  handler._inferred_steps = read  # As Keras does after the first epoch.
