"""Everything that a running `fit` has changed: taken, compared, put back."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import optimizer_traits, tracked_objects
from tf_unilth.engines.tfmot.keras_access import PythonState, keras
from tf_unilth.resume import callback_counters, random_state


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
    model = self.model
    nodes = [*tracked_objects.descendants(model)]
    for path, node in nodes:
      if isinstance(node, tf.Variable):
        yield path, node
    yield from _numbered('weights', model.weights)
    for path, optimizer in tracked_objects.optimizers(model, nodes).items():
      # Legacy optimizers keep their slots where no path leads to.
      yield from _numbered(path, optimizer.variables())
      rate = optimizer_traits.staged_learning_rate(optimizer)
      if rate is not None:
        name = 'learning_rate' if path == 'optimizer' else f'{path}/rate'
        yield from _numbered(name, [rate._begin, rate._steps])
    yield 'train_counter', model._train_counter
    yield from random_state.generator_variables(model).items()

  @property
  def made_by_training(self) -> tuple[str, ...]:
    """How the paths of variables begin that only a train step makes.

    Only the optimizer that a model was compiled with is built before: which
    weights another one trains says the train step.
    """
    others = tracked_objects.optimizers(self.model)
    return tuple(f'{path}/' for path in others if path != 'optimizer')

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
        for callback, names in callback_counters.counters(self.callbacks)
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
    mine = callback_counters.counters(self.callbacks)
    for (callback, names), (_, counters) in zip(
      mine, values['callbacks'], strict=True
    ):
      vars(callback).update({n: counters[n] for n in names if n in counters})

  def put_metrics(self, values: Mapping[str, Any]) -> None:
    """Puts the running means of an epoch back."""
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
  """Lets Keras make the metrics of a model, as its first step would.

  Args:
    model: a compiled model.
    iterator: over its batches; none is read.
  """
  if model.run_eagerly:
    trained = tf.function(lambda batches: model.train_step(next(batches)))
  else:
    trained = model.train_tf_function
  trained.get_concrete_function(iterator)
