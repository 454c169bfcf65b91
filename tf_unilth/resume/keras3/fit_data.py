"""Keras3FitData: moves the data of a `fit` to where a run stopped."""

import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tf_unilth.algorithms.keras_callback import KerasCallback
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches
from tf_unilth.resume.keras3 import (
  data_description,
  fit_introspection,
  random_generators,
)
from tf_unilth.user_warning import warn_user


class Keras3FitData:
  """See `resume.training_access.FitData`.

  Each epoch, Keras reads the data by a generator of the epoch iterator, which
  this object replaces. The random state at the beginning of an epoch's data is
  saved, since shuffled arrays draw their order there. Nothing here holds the
  iterator, so it is freed with the `fit`.

  Args:
    model: the model of the `fit`.
    fit: the running `fit`; its `data_handler` is a weak reference to Keras's
      epoch iterator.
  """

  def __init__(self, model: keras.Model, fit: FitContext):
    self._model, self._fit = model, fit
    self._iterator: Callable[[], Any] = fit.data_handler or (lambda: None)
    self._checkpoint: Any = None  # To resume from, until that is done.
    self._before_epoch: Any = None  # To be called once that is done.
    self._first: Any = None  # The random state when the run began to read.
    self._epoch: Any = None  # The same of the present epoch.
    self._begin: _Begin | None = None

  @property
  def initial_epoch(self) -> int:
    """The `initial_epoch` of the `fit`."""
    return self._fit.initial_epoch

  @property
  def _adapter(self) -> Any:
    return self._iterator().data_adapter

  def _is_adapter(self, *kinds: str) -> bool:
    return type(self._adapter).__name__ in kinds

  def steps_of_epoch(self) -> int:
    """Returns the number of steps of an epoch, 0 while it is unknown."""
    return self._iterator().num_batches or 0

  def shuffles_arrays(self) -> bool:
    """Returns whether the `fit` shuffles its arrays."""
    return bool(self._is_adapter('ArrayDataAdapter') and self._adapter._shuffle)

  # Reading.

  def watch(
    self, enter: Callable[[], None], leave: Callable[[], None], patches: Patches
  ) -> None:
    """Calls functions when the `fit` begins to train and when it ends."""
    del patches  # Those must not hold the iterator.
    self._warn_of_generator()
    iterator = self._iterator()
    iterator._enumerate_iterator = self._enumerate
    # Keras frees it with a `fit` that failed, and calls no callback then.
    weakref.finalize(iterator, leave).atexit = False
    at_begin = [enter]
    if self._begin is not None:
      at_begin.append(self._begin.do)
    self._begin = _Begin(lambda: [do() for do in at_begin])
    self.add_last(self._begin)

  def _warn_of_generator(self) -> None:
    on_tensorflow = keras.backend.backend() == 'tensorflow'
    if on_tensorflow and self._is_adapter('GeneratorDataAdapter'):
      warn_user(
        'x is a Python generator, which Keras reads ahead in a thread on the '
        'TensorFlow backend, and drops what it has read: no run ends as '
        'another one, and none is resumed exactly. Pass arrays, a PyDataset '
        'or a tf.data.Dataset.',
      )

  def resume(
    self,
    checkpoint: Any,
    before_epoch: Callable[[Any], None],
    at_end: Callable[[], None],
    patches: Patches,
  ) -> None:
    """Makes the `fit` resume where another one stopped."""
    del patches
    saved = checkpoint.values.get('data') or {}
    self._first, self._checkpoint = saved.get('first'), checkpoint
    self._before_epoch = before_epoch
    before_epoch(None)  # Keras has created all by now but for metrics.
    self._model._initial_epoch = checkpoint.epoch
    if checkpoint.finished:
      self._model._initial_epoch = self._epochs()
      self._begin = _Begin(at_end)

  def _epochs(self) -> int:
    return self._fit.callback_list().params['epochs']

  def _enumerate(self) -> Iterator[Any]:
    """Replaces the generator of an epoch's steps."""
    self._model._initial_epoch = None  # `fit` has read it.
    iterator = self._iterator()
    checkpoint, self._checkpoint = self._checkpoint, None
    before_epoch, self._before_epoch = self._before_epoch, None
    if checkpoint is not None:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # They were given in the earlier run.
        steps = self._move_to(checkpoint, before_epoch)
    else:
      self._epoch = random_generators.get_state()
      self._first = self._first or self._epoch
      steps = _steps(iterator)
    yield from steps

  def _move_to(
    self, checkpoint: Any, before_epoch: Callable[[Any], None]
  ) -> Iterator[Any]:
    """Returns the generator of the steps that follow a checkpoint."""
    iterator = self._iterator()
    now = random_generators.get_state()
    is_from_start = self.initial_epoch != checkpoint.epoch
    if is_from_start and self._has_state:
      if self._first is not None:
        random_generators.set_state(self._first)
      for _ in range(self.initial_epoch, checkpoint.epoch):
        _read(iterator, _steps(iterator))
    if checkpoint.epoch > checkpoint.first_epoch:
      _begin_reading(iterator)
    restores = self.restores_random_state(checkpoint)
    if checkpoint.step:
      self._epoch = (checkpoint.values.get('data') or {}).get('epoch')
      if restores and self._epoch is not None:
        random_generators.set_state(self._epoch)
      steps = _steps(iterator)
      before_epoch(_read(iterator, steps, checkpoint.step))
      now = checkpoint.values['random']
    if restores:
      random_generators.set_state(now)
    if not checkpoint.step:
      self._epoch = random_generators.get_state()
      self._first = self._first or self._epoch
      steps = _steps(iterator)
    return steps

  @property
  def _has_state(self) -> bool:
    """Whether what an epoch reads depends on the epochs before it.

    Arrays are shuffled by the random state of the host, but on TensorFlow by an
    operation that has a state of its own.
    """
    if not self._is_adapter('ArrayDataAdapter'):
      return True
    if self._iterator().steps_per_epoch is not None:
      return True
    on_tensorflow = keras.backend.backend() == 'tensorflow'
    return on_tensorflow and bool(self._adapter._shuffle)

  def restores_random_state(self, checkpoint: Any) -> bool:
    """Returns whether the random state of a checkpoint is to be restored.

    On TensorFlow, generators and PyDatasets draw ahead, from Python's and
    NumPy's generators, so that the saved state does not belong to one step.
    """
    draws_ahead = keras.backend.backend() == 'tensorflow' and self._is_adapter(
      'GeneratorDataAdapter', 'PyDatasetAdapter'
    )
    return self.initial_epoch != checkpoint.first_epoch or not draws_ahead

  def random_states(self) -> dict[str, Any]:
    """Returns the random states when the run and the epoch began to read."""
    return {'data': {'first': self._first, 'epoch': self._epoch}}

  def replay_validation(self, epochs: range) -> None:
    """Advances the seeds of validation data as completed epochs have done."""
    data = self._fit.validation_inputs
    if not data_description.is_dataset(data):
      return
    # On TensorFlow, Keras creates a second iterator at the end, if it knows it.
    again = keras.backend.backend() == 'tensorflow' and data.cardinality() >= 0
    for epoch in epochs:
      if self._model._should_eval(epoch, self._fit.validation_freq):
        for _ in range(2 if again else 1):
          iter(data)

  # Descriptions.

  def describe(self) -> dict[str, Any]:
    """Describes kind, shapes and dtypes of the data in plain values."""
    return data_description.describe(self._adapter, self._fit.class_weight)

  def describe_validation(self) -> Any:
    """Returns dtypes and shapes of validation data, `None` if unknown."""
    return data_description.validation(self._fit.validation_parts)

  def contents(self) -> Any:
    """Returns a digest of the training data; `None` if it cannot be read."""
    return data_description.of_adapter(self._adapter)

  def validation_contents(self) -> Any:
    """Returns the same of the validation data."""
    return data_description.contents(self._fit.validation_parts)

  # Callbacks.

  def add_last(self, callback: Any) -> None:
    """Lets Keras call a callback after all others.

    Keras has made the list, and may be iterating over it: also the hook that
    runs now is called.
    """
    callbacks = self._fit.callback_list().callbacks
    if not any(callback is other for other in callbacks):
      callbacks.append(callback)

  def remove(self, callback: Any) -> None:
    """Takes out a callback that `add_last` added."""
    self._model._initial_epoch = None
    callback_list = self._fit.callback_list()
    if callback_list is not None:
      ours = (callback, self._begin)
      callbacks = callback_list.callbacks
      # Both are at the end, so none is skipped if Keras is iterating.
      while callbacks and any(callbacks[-1] is other for other in ours):
        callbacks.pop()

  def is_running(self) -> Callable[[], bool]:
    """Returns a function that returns whether the `fit` still runs."""
    of_fit = self._iterator

    def is_running() -> bool:
      iterator = of_fit()
      return iterator is not None and any(
        local.get('epoch_iterator') is iterator
        for frame in sys._current_frames().values()
        for local in fit_introspection.running_fits(frame)
      )

    return is_running


class _Begin(KerasCallback):
  """Does something once all callbacks of a `fit` have begun."""

  def __init__(self, do: Callable[[], Any]):
    super().__init__()
    self.do = do

  def on_train_begin(self, logs: Any = None) -> None:
    self.do()


def _steps(iterator: Any) -> Iterator[Any]:
  """Returns Keras's own generator of the steps of an epoch."""
  return type(iterator)._enumerate_iterator(iterator)


def _begin_reading(iterator: Any) -> None:
  """Makes the iterator that all epochs read from, if there is to be one.

  In the run it was made before, and on torch that draws a random number.
  """
  if iterator.steps_per_epoch and iterator._current_iterator is None:
    iterator._current_iterator = iter(iterator._get_iterator())
    iterator._steps_seen = 0


def _read(iterator: Any, steps: Iterator[Any], count: int | None = None) -> Any:
  """Reads batches without training, as `fit` reads them.

  Args:
    iterator: Keras's epoch iterator.
    steps: its generator of the steps of an epoch.
    count: how many to read; `None`: those of a whole epoch.

  Returns:
    The last batch, `None` without one.
  """
  batch = None
  of_execution = iterator.steps_per_execution
  with iterator.catch_stop_iteration():
    for begin, _, batches in steps:
      last = iterator.num_batches or begin + of_execution
      for _ in range(min(of_execution, last - begin)):
        batch = next(batches)
      if count is not None and begin + of_execution >= count:
        break
  return batch
