"""TfKerasAccess: reads and restores all that training changes in tf_keras."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines import tensorflow_rate
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.tfmot import (
  fit_introspection,
  keras_access,
  model_checks,
  model_layers,
  optimizer_traits,
  tracked_objects,
)
from tf_unilth.engines.tfmot.keras_access import PythonState, keras
from tf_unilth.resume import graph_operations, random_state
from tf_unilth.resume.tfmot import random_generators
from tf_unilth.resume.tfmot.fit_data import TfKerasFitData


class TfKerasAccess:
  """See `resume.training_access.TrainingAccess`.

  Args:
    model: a tf_keras model.
  """

  def __init__(self, model: keras.Model):
    self._model = model

  def fit(self) -> FitContext:
    """Returns the running `fit`; one with the defaults for a custom loop."""
    return fit_introspection.fit_context()

  def data_of(self, fit: FitContext) -> TfKerasFitData:
    """Returns the data of a `fit`."""
    return TfKerasFitData(self._model, fit)

  # Compiled arguments and layers.

  def check_compiled(self) -> None:
    """Raises a `ValueError` if the model cannot be trained exactly."""
    model_checks.check_compiled(self._model)

  def check_finite(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""
    model_checks.check_finite(self._model, logs)

  def build_optimizer(self) -> None:
    """Creates the slots of the optimizer."""
    compiled = tracked_objects.compiled_optimizers(self._model)
    if len(compiled) == 1:
      optimizer_traits.build(compiled[0], self._model)

  def compiled(self) -> dict[str, Any]:
    """Returns the arguments of `compile`; `{}` if they are unknown."""
    try:
      return keras_access.compile_arguments(self._model)
    except AttributeError:  # The user has overridden `compile`.
      return {}

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""
    return keras_access.steps_per_execution(self._model)

  @property
  def replicas(self) -> int:
    """The number of replicas that train."""
    return self._model.distribute_strategy.num_replicas_in_sync

  @property
  def writes(self) -> bool:
    """Whether this process writes checkpoints."""
    return self._model.distribute_strategy.extended.should_checkpoint

  def optimizers(self) -> dict[str, Any]:
    """Returns all optimizers by path; the compiled one is `optimizer`."""
    return tracked_objects.optimizers(self._model)

  def inner(self, optimizer: Any) -> Any:
    """Returns the optimizer inside of one that scales losses."""
    return optimizer_traits.inner(optimizer)

  def learning_rate_schedule(self, optimizer: Any) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""
    return optimizer_traits.learning_rate_schedule(optimizer)

  def number(self, value: Any) -> float:
    """Returns a scalar tensor or variable as a number."""
    return float(tf.convert_to_tensor(value))

  def layers(self) -> list[Any]:
    """Returns the model and its layers; a wrapped layer replaces its wrapper.

    Nested ones are included.
    """
    return [
      layer
      for layer in (self._model, *model_layers.flatten_layers(self._model))
      if not isinstance(layer, keras_access.PruneLowMagnitude)
    ]

  def schedules(self) -> list[Any]:
    """Returns the pruning schedules, each once."""
    return model_layers.pruning_schedules(self._model)

  def schedule_numbers(self) -> dict[int, int]:
    """Returns which of the schedules a layer has, by the layer's id."""
    schedules = self.schedules()
    return {
      id(wrapper.layer): schedules.index(wrapper.pruning_schedule)
      for wrapper in model_layers.flatten_layers(self._model)
      if isinstance(wrapper, keras_access.PruneLowMagnitude)
    }

  def is_network(self, layer: Any) -> bool:
    """Returns whether a model is a Sequential or functional one."""
    return model_layers.is_network(layer)

  def has_own_config(self, model: Any) -> bool:
    """Returns whether a model's class overrides Keras's `get_config`.

    Keras's method returns only the arguments of `__init__`.
    """
    return type(model).get_config is not keras.Model.get_config

  def network_config(self, network: Any) -> Mapping[str, Any] | None:
    """Returns Keras's configuration of a network without that of its layers."""
    if not getattr(network, '_is_graph_network', False):
      return None
    return keras.src.engine.functional.get_network_config(
      network, serialize_layer_fn=lambda layer: {}
    )

  # State.

  def make_restorable(self) -> None:
    """Gives layers that draw random numbers generators that can be saved."""
    if random_generators.make_restorable(self._model):
      self._model.train_function = None

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
    model = self._model
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
    yield from random_generators.generator_variables(model).items()

  def metric_variables(self) -> dict[str, Any]:
    """Returns the variables of the metrics of an epoch, by name."""
    return {
      name: copy
      for number, metric in enumerate(self._model.metrics)
      for path, variable in _numbered(f'metric/{number}', metric.variables)
      for name, copy in _copies(path, variable)
    }

  @property
  def made_by_training(self) -> tuple[str, ...]:
    """The path prefixes of variables that only a train step creates.

    Those of all optimizers that the model was not compiled with: only the train
    step determines which weights such an optimizer trains.
    """
    others = tracked_objects.optimizers(self._model)
    return tuple(f'{path}/' for path in others if path != 'optimizer')

  def create_variables(self, data: Any) -> None:
    """Creates these variables by tracing a train step; no batch is read."""
    model = self._model
    if model.run_eagerly:
      train_function = tf.function(
        lambda batches: model.train_step(next(batches))
      )
    else:
      train_function = model.train_tf_function
    train_function.get_concrete_function(data)

  def read(self, variable: Any) -> np.ndarray:
    """Returns the value of a variable."""
    return variable.numpy()

  def after_assign(self) -> None:
    """Nothing: masks are variables, too."""

  def get_states(self) -> dict[str, bytes]:
    """Returns the states of runs, by name."""
    return {path: state.serialize() for path, state in self._python_states()}

  def set_states(self, states: Mapping[str, bytes]) -> None:
    """Restores what `get_states` returned."""
    for path, state in self._python_states():
      if path in states:
        state.deserialize(states[path])

  def _python_states(self) -> Iterator[tuple[str, PythonState]]:
    for path, node in tracked_objects.descendants(self._model):
      if isinstance(node, PythonState):
        yield path, node

  # Random numbers.

  def seed(self) -> int | None:
    """Returns the seed of `set_random_seed`, `None` if it was not called."""
    return random_generators.global_seed()

  def get_random(self) -> dict[str, Any]:
    """Returns the random states that are not in variables of the model."""
    return random_state.get_host_state()

  def set_random(self, state: Mapping[str, Any]) -> None:
    """Restores what `get_random` returned."""
    random_state.set_host_state(state)

  def warn_of_unrestorable(self) -> None:
    """Warns of state that cannot be restored, once steps were trained."""
    names = random_generators.unrestorable_operations(self._model)
    graph_operations.warn(names)


def _numbered(name: str, variables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
  for number, variable in enumerate(variables):
    yield f'{name}/{number}', variable


def _copies(path: str, variable: Any) -> Iterator[tuple[str, Any]]:
  copies = getattr(variable, 'values', None) or (variable,)
  for number, copy in enumerate(copies):
    yield (f'{path}/replica_{number}' if number else path), copy


def access(model: keras.Model) -> TfKerasAccess:
  """Returns the access to a model."""
  return TfKerasAccess(model)
