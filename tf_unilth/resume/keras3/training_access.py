"""Keras3Access: reads and restores all that training changes in Keras 3."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.models import functional

from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.keras3 import (
  backend_values,
  layer_tree,
  model_checks,
  optimizer_traits,
  pruning_plan,
)
from tf_unilth.resume.keras3 import (
  fit_introspection,
  random_generators,
  unsaved_state,
)
from tf_unilth.resume.keras3.fit_data import Keras3FitData


class Keras3Access:
  """See `resume.training_access.TrainingAccess`.

  Args:
    model: a Keras 3 model.
  """

  def __init__(self, model: keras.Model):
    self._model = model

  @property
  def _plan(self) -> Any:
    return pruning_plan.plan_of(self._model)

  def fit(self) -> FitContext:
    """Returns the running `fit`; one with the defaults for a custom loop."""
    return fit_introspection.fit_context()

  def data_of(self, fit: FitContext) -> Keras3FitData:
    """Returns the data of a `fit`."""
    return Keras3FitData(self._model, fit)

  # Compiled arguments and layers.

  def check_compiled(self) -> None:
    """Raises a `ValueError` if the model cannot be trained exactly."""
    model_checks.check_compiled(self._model)

  def check_finite(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""
    backend_values.sync(self._model)
    model_checks.check_finite(self._model, self._slots(), logs)

  def build_optimizer(self) -> None:
    """Creates the slots of the optimizer."""
    if not self._model.optimizer.built:
      self._model.optimizer.build(self._model.trainable_variables)

  def compiled(self) -> dict[str, Any]:
    """Returns the arguments of `compile`; `{}` if they are unknown."""
    config = getattr(self._model, '_compile_config', None)
    return {} if config is None else dict(config.config)

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""
    return int(self._model.steps_per_execution)

  @property
  def replicas(self) -> int:
    """The number of replicas that train."""
    backend = keras.backend.backend()
    if backend == 'tensorflow':
      return int(self._model.distribute_strategy.num_replicas_in_sync)
    if backend == 'jax':
      distribution = keras.distribution.distribution()
      if distribution is not None:
        return int(np.prod(distribution.device_mesh.shape))
    return 1

  @property
  def writes(self) -> bool:
    """Whether this process writes checkpoints."""
    backend = keras.backend.backend()
    if backend == 'tensorflow':
      strategy = self._model.distribute_strategy
      return bool(strategy.extended.should_checkpoint)
    if backend == 'jax':
      import jax

      return jax.process_index() == 0
    return True

  def optimizers(self) -> dict[str, Any]:
    """Returns all optimizers by path; the compiled one is `optimizer`."""
    compiled = self._model.optimizer
    found = {} if compiled is None else {'optimizer': compiled}
    known = {id(compiled), id(self.inner(compiled))}
    for number, layer in enumerate(self.layers()):
      for name, value in vars(layer).items():
        is_optimizer = isinstance(value, keras.optimizers.Optimizer)
        if is_optimizer and id(value) not in known:
          known.add(id(value))
          found[f'{number}/{name}' if number else name] = value
    return found

  def inner(self, optimizer: Any) -> Any:
    """Returns the optimizer inside of one that scales losses."""
    return optimizer_traits.inner(optimizer)

  def learning_rate_schedule(self, optimizer: Any) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""
    return optimizer_traits.learning_rate_schedule(optimizer)

  def number(self, value: Any) -> float:
    """Returns a scalar tensor or variable as a number."""
    return float(keras.ops.convert_to_numpy(value))

  def layers(self) -> list[Any]:
    """Returns the model and its layers, nested ones too."""
    found = layer_tree.inside(self._model)
    return list({id(layer): layer for layer in found}.values())

  def schedules(self) -> list[Any]:
    """Returns the pruning schedules, each once."""
    return [] if self._plan is None else self._plan.schedules

  def schedule_numbers(self) -> dict[int, list[int]]:
    """Returns which of the schedules a layer has, by the layer's id."""
    if self._plan is None:
      return {}
    schedules = self.schedules()
    planned = {
      id(kernel.variable): schedules.index(kernel.schedule)
      for kernel in self._plan.kernels
    }
    found: dict[int, list[int]] = {}
    for _, kernel, layer in layer_tree.model_kernels(self._model):
      if id(kernel.variable) in planned:
        found.setdefault(id(layer), []).append(planned[id(kernel.variable)])
    return found

  def is_network(self, layer: Any) -> bool:
    """Returns whether a model is a Sequential or functional one."""
    return isinstance(layer, keras.Sequential) or (
      isinstance(layer, functional.Functional)
      and functional.functional_like_constructor(type(layer))
    )

  def has_own_config(self, model: Any) -> bool:
    """Returns whether a model's class overrides Keras's `get_config`.

    Keras's method returns only the arguments of `__init__`.
    """
    return type(model).get_config is not keras.Model.get_config

  def network_config(self, network: Any) -> Mapping[str, Any] | None:
    """Returns Keras's configuration of a network without that of its layers.

    That of operations, which are no layers, is part of their calls.
    """
    if isinstance(network, keras.Sequential):
      return None  # Its layers are called in order.
    config = network.get_config()
    layers = {layer.name for layer in network.layers}
    for one in config['layers']:
      if one['name'] not in layers:
        one['inbound_nodes'] = [
          *(one['class_name'], one['config'], one['inbound_nodes'])
        ]
    return config

  # State.

  def make_restorable(self) -> None:
    """Does nothing: the generators of Keras 3 are variables."""

  def _slots(self) -> list[Any]:
    """Returns the variables of the optimizer without those of the plan."""
    if self._plan is not None and self._plan.kernels:
      return self._plan.hooks.hook_optimizer().own_variables()
    return list(self._model.optimizer.variables)

  def variables(self) -> dict[str, Any]:
    """Returns all variables by name, one per copy on a device."""
    backend_values.sync(self._model)
    found: dict[int, tuple[str, Any]] = {}
    for path, variable in self._all_variables():
      found.setdefault(id(variable), (path, variable))
    return {
      name: copy
      for path, variable in found.values()
      for name, copy in _copies(path, variable)
    }

  def _all_variables(self) -> Iterator[tuple[str, Any]]:
    model, plan = self._model, self._plan
    yield from _numbered('weights', model.weights)
    yield from _numbered('generators', model.variables)
    yield from _numbered('optimizer', self._slots())
    for path, optimizer in self.optimizers().items():
      if path != 'optimizer':
        yield from _numbered(path, optimizer.variables)
    if plan is not None and plan.kernels:
      yield from _numbered('masks', plan.variables.masks)
      yield from _numbered('candidates', plan.variables.candidates)
      yield from _numbered('ramp', plan.variables.numbers)

  def metric_variables(self) -> dict[str, Any]:
    """Returns the variables of the metrics of an epoch, by name."""
    backend_values.sync(self._model)
    return {
      name: copy
      for path, variable in _numbered('metric', self._model.metrics_variables)
      for name, copy in _copies(path, variable)
    }

  @property
  def made_by_training(self) -> tuple[str, ...]:
    """The name prefixes of variables that only a train step creates."""
    return tuple(
      f'{path}/' for path in self.optimizers() if path != 'optimizer'
    )

  def create_variables(self, data: Any) -> None:
    """Creates the metrics, given a batch.

    Users build the optimizers of their own train steps.
    """
    if data is not None:
      # `fit` calls it on JAX; on other backends the first step makes metrics.
      self._model._symbolic_build(data_batch=data)

  def read(self, variable: Any) -> np.ndarray:
    """Returns the value of a variable, or of its copy on one device."""
    if isinstance(variable, keras.Variable):
      return backend_values.read(variable)
    return variable.numpy()

  def after_assign(self) -> None:
    """Passes restored masks to the plan."""
    plan = self._plan
    if plan is not None and plan.kernels:
      plan.set_masks(
        [backend_values.read(mask) for mask in plan.variables.masks]
      )

  def get_states(self) -> dict[str, bytes]:
    """Returns the states of the run and of learning rates, by name."""
    found = {
      f'rate/{path}': json.dumps([int(rate._begin), int(rate._steps)]).encode()
      for path, rate in self._rates()
    }
    if self._plan is not None:
      found['run'] = self._plan.state.to_bytes()
    return found

  def set_states(self, states: Mapping[str, bytes]) -> None:
    """Restores what `get_states` returned."""
    for path, rate in self._rates():
      if f'rate/{path}' in states:
        rate.restart(*json.loads(states[f'rate/{path}']))
    if self._plan is not None and 'run' in states:
      self._plan.state.restore(states['run'])

  def _rates(self) -> Iterator[tuple[str, Any]]:
    """Yields each `StagedLearningRate`, and the path of its optimizer."""
    for path, optimizer in self.optimizers().items():
      rate = optimizer_traits.staged_learning_rate(optimizer)
      if rate is not None:
        yield path, rate

  # Random numbers.

  def seed(self) -> int | None:
    """Returns the seed of `set_random_seed`, `None` if it was not called."""
    return random_generators.seed()

  def get_random(self) -> dict[str, Any]:
    """Returns the random states that are not in variables of the model."""
    return random_generators.get_state()

  def set_random(self, state: Mapping[str, Any]) -> None:
    """Restores what `get_random` returned."""
    random_generators.set_state(state)

  def warn_of_unrestorable(self) -> None:
    """Warns of state that cannot be restored, once steps were trained."""
    unsaved_state.warn(self._model, self.layers())


def _numbered(name: str, variables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
  for number, variable in enumerate(variables):
    yield f'{name}/{number}', variable


def _copies(path: str, variable: Any) -> Iterator[tuple[str, Any]]:
  """Yields a variable, or its copies on the devices of a strategy."""
  copies = getattr(variable._value, 'values', None)
  if not isinstance(copies, tuple | list):
    copies = (variable,)
  for number, copy in enumerate(copies):
    yield (f'{path}/replica_{number}' if number else path), copy


def access(model: keras.Model) -> Keras3Access:
  """Returns the access to a model."""
  return Keras3Access(model)
