"""Everything that a running `fit` has changed: taken, compared, put back."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth import optimizers, random_state
from tf_unilth.callbacks import TicketCallback
from tf_unilth.compat import PythonState, keras

_callbacks = keras.callbacks
# What callbacks of Keras's count while they run; they are all in place when
# the first epoch begins.
_COUNTERS: dict[type, tuple[str, ...]] = {
  _callbacks.EarlyStopping: (
    'wait',
    'stopped_epoch',
    'best',
    'best_weights',
    'best_epoch',
  ),
  _callbacks.ReduceLROnPlateau: ('wait', 'cooldown_counter', 'best'),
  _callbacks.ModelCheckpoint: (
    'best',
    'epochs_since_last_save',
    '_batches_seen_since_last_saving',
    '_last_batch_seen',
  ),
  TicketCallback: ('_rewind_weights',),
}


@dataclasses.dataclass
class TrainingState:
  """What a run has changed: variables of the model and numbers on the host.

  Args:
    model: a compiled and built model.
    callbacks: those of the `fit`.
  """

  model: keras.Model
  callbacks: Sequence[Any]

  # Variables.

  def variables(self) -> dict[str, Any]:
    """Returns all variables by name: what TensorFlow tracks, and the rest.

    A variable that a distribution strategy copies is in it once per copy.
    """
    return {
      name: copy
      for path, variable in self._variables()
      for name, copy in _copies(path, variable)
    }

  def _variables(self) -> Iterator[tuple[str, Any]]:
    found: set[int] = set()
    for path, variable in self._all_variables():
      if id(variable) not in found:
        found.add(id(variable))
        yield path, variable

  def _all_variables(self) -> Iterator[tuple[str, Any]]:
    model, optimizer = self.model, self.model.optimizer
    for path, node in _descendants(model):
      if isinstance(node, tf.Variable):
        yield path, node
    yield from _numbered('weights', model.weights)
    # Legacy optimizers keep their slots where no path leads to.
    yield from _numbered('optimizer', optimizer.variables())
    rate = optimizers.staged_learning_rate(optimizer)
    if rate is not None:
      yield from _numbered('learning_rate', [rate._begin, rate._steps])
    yield 'train_counter', model._train_counter
    yield from random_state.generator_variables(model).items()

  def take_variables(self) -> dict[str, np.ndarray]:
    """Returns the variables' values by name."""
    return {name: v.numpy() for name, v in self.variables().items()}

  def put_variables(self, values: Mapping[str, np.ndarray]) -> None:
    """Assigns the values that `take_variables` returned."""
    for name, variable in self.variables().items():
      if name in values:
        variable.assign(values[name])

  def metrics(self) -> dict[str, Any]:
    """Returns the running means of an epoch, by name."""
    return {
      name: copy
      for number, metric in enumerate(self.model.metrics)
      for path, variable in _numbered(f'metric/{number}', metric.variables)
      for name, copy in _copies(path, variable)
    }

  # Numbers on the host.

  def take_values(self) -> dict[str, Any]:
    """Returns all that is in no variable."""
    history = getattr(self.model, 'history', None)
    return {
      'states': {p: s.serialize() for p, s in self._python_states()},
      'metrics': {n: v.numpy() for n, v in self.metrics().items()},
      'callbacks': [
        [type(callback).__name__, {n: vars(callback)[n] for n in names}]
        for callback, names in self._counters()
      ],
      'history': history and history.history,
      'epochs': history and history.epoch,
      'random': random_state.take_host_state(),
    }

  def put_states(self, values: Mapping[str, Any]) -> None:
    """Puts snapshots back."""
    for path, state in self._python_states():
      if path in values['states']:
        state.deserialize(values['states'][path])

  def put_counters(self, values: Mapping[str, Any]) -> None:
    """Puts history and callbacks back, once all callbacks have begun."""
    history = getattr(self.model, 'history', None)
    if history and values['history'] is not None:
      history.history, history.epoch = values['history'], values['epochs']
    for (callback, names), (kind, counters) in zip(
      self._counters(), values['callbacks'], strict=False
    ):
      if kind == type(callback).__name__:
        vars(callback).update({n: counters[n] for n in names if n in counters})

  def put_metrics(self, values: Mapping[str, Any]) -> None:
    """Puts the running means of an epoch back."""
    for name, variable in self.metrics().items():
      if name in values['metrics']:
        variable.assign(values['metrics'][name])

  def _python_states(self) -> Iterator[tuple[str, PythonState]]:
    for path, node in _descendants(self.model):
      if isinstance(node, PythonState):
        yield path, node

  def _counters(self) -> Iterator[tuple[Any, list[str]]]:
    for callback in self.callbacks:
      for kind, names in _COUNTERS.items():
        if isinstance(callback, kind):
          yield callback, [name for name in names if name in vars(callback)]


def _descendants(root: Any) -> Iterator[tuple[str, Any]]:
  """Yields what TensorFlow's checkpoints hold, each once, with its path."""
  view = tf.train.TrackableView(root)
  found, waiting = {id(root)}, [('', root)]
  for path, node in waiting:
    yield path, node
    for name, child in view.children(node).items():
      if id(child) not in found:
        found.add(id(child))
        waiting.append((f'{path}/{name}' if path else name, child))


def _numbered(name: str, variables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
  for number, variable in enumerate(variables):
    yield f'{name}/{number}', variable


def _copies(path: str, variable: Any) -> Iterator[tuple[str, Any]]:
  copies = getattr(variable, 'values', None) or (variable,)
  for number, copy in enumerate(copies):
    yield (f'{path}/replica_{number}' if number else path), copy
