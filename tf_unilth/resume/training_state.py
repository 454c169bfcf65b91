"""Reads and restores everything that a running `fit` changes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines import tensorflow_rate
from tf_unilth.engines.tfmot import optimizer_traits, tracked_objects
from tf_unilth.engines.tfmot.keras_access import PythonState, keras
from tf_unilth.resume import callback_counters, random_state


@dataclasses.dataclass
class TrainingState:
  """The state of a run: variables of the model and values on the host.

  Args:
    model: a compiled and built model.
    callbacks: the callbacks of the `fit`.
  """

  model: keras.Model
  callbacks: Sequence[Any]

  # Variables.

  def variables(self) -> dict[str, Any]:
    """Returns all variables by name, also those that TensorFlow does not track.

    A variable with one copy per replica has one entry per copy.
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
    model = self.model
    nodes = [*tracked_objects.descendants(model)]
    for path, node in nodes:
      if isinstance(node, tf.Variable):
        yield path, node
    yield from _numbered('weights', model.weights)
    for path, optimizer in tracked_objects.optimizers(model, nodes).items():
      # TensorFlow does not track the slots of legacy optimizers.
      yield from _numbered(path, optimizer.variables())
      rate = optimizer_traits.staged_learning_rate(optimizer)
      if rate is not None:
        name = 'learning_rate' if path == 'optimizer' else f'{path}/rate'
        yield from _numbered(name, tensorflow_rate.variables(rate))
    yield 'train_counter', model._train_counter
    yield from random_state.generator_variables(model).items()

  @property
  def made_by_training(self) -> tuple[str, ...]:
    """The path prefixes of variables that only a train step creates.

    Those of all optimizers that the model was not compiled with: only the train
    step determines which weights such an optimizer trains.
    """
    others = tracked_objects.optimizers(self.model)
    return tuple(f'{path}/' for path in others if path != 'optimizer')

  def get_variables(self) -> dict[str, np.ndarray]:
    """Returns the variables' values by name."""
    return {name: v.numpy() for name, v in self.variables().items()}

  def set_variables(self, values: Mapping[str, np.ndarray]) -> None:
    """Assigns values to variables.

    Args:
      values: values by name, as `get_variables` returns them.
    """
    for name, variable in self.variables().items():
      if name in values:
        variable.assign(values[name])

  def metrics(self) -> dict[str, Any]:
    """Returns the variables of the metrics of an epoch, by name."""
    return {
      name: copy
      for number, metric in enumerate(self.model.metrics)
      for path, variable in _numbered(f'metric/{number}', metric.variables)
      for name, copy in _copies(path, variable)
    }

  # Values on the host.

  def get_values(self) -> dict[str, Any]:
    """Returns all state that is not in variables.

    Returns:
      `states` (snapshots), `metrics`, `callbacks` (class names and counters),
      `history`, `epochs` and `random`.
    """
    history = getattr(self.model, 'history', None)
    return {
      'states': {p: s.serialize() for p, s in self._python_states()},
      'metrics': {n: v.numpy() for n, v in self.metrics().items()},
      'callbacks': [
        [type(callback).__name__, {n: vars(callback)[n] for n in names}]
        for callback, names in callback_counters.counters(self.callbacks)
      ],
      'history': history and history.history,
      'epochs': history and history.epoch,
      'random': random_state.get_host_state(),
    }

  def set_python_states(self, values: Mapping[str, Any]) -> None:
    """Restores snapshots and other Python state of the model.

    Args:
      values: what `get_values` returned.
    """
    for path, state in self._python_states():
      if path in values['states']:
        state.deserialize(values['states'][path])

  def set_counters(self, values: Mapping[str, Any]) -> None:
    """Restores history and counters; all callbacks must have begun.

    Args:
      values: what `get_values` returned.
    """
    history = getattr(self.model, 'history', None)
    if history and values['history'] is not None:
      history.history, history.epoch = values['history'], values['epochs']
    counting = callback_counters.counters(self.callbacks)
    for (callback, names), (_, counters) in zip(
      counting, values['callbacks'], strict=True
    ):
      vars(callback).update({n: counters[n] for n in names if n in counters})

  def set_metrics(self, values: Mapping[str, Any]) -> None:
    """Restores the metrics of an epoch.

    Args:
      values: what `get_values` returned.
    """
    for name, variable in self.metrics().items():
      if name in values['metrics']:
        variable.assign(values['metrics'][name])

  def _python_states(self) -> Iterator[tuple[str, PythonState]]:
    for path, node in tracked_objects.descendants(self.model):
      if isinstance(node, PythonState):
        yield path, node


def _numbered(name: str, variables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
  for number, variable in enumerate(variables):
    yield f'{name}/{number}', variable


def _copies(path: str, variable: Any) -> Iterator[tuple[str, Any]]:
  copies = getattr(variable, 'values', None) or (variable,)
  for number, copy in enumerate(copies):
    yield (f'{path}/replica_{number}' if number else path), copy


def trace_train_step(model: keras.Model, iterator: Any) -> None:
  """Traces a train step, so that Keras creates the metrics of a model.

  Args:
    model: a compiled model.
    iterator: an iterator over its batches; no batch is read.
  """
  if model.run_eagerly:
    train_function = tf.function(
      lambda batches: model.train_step(next(batches))
    )
  else:
    train_function = model.train_tf_function
  train_function.get_concrete_function(iterator)
