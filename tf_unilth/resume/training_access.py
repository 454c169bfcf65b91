"""What resuming needs of a framework: a model's state, and a `fit`'s data."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from tf_unilth.engines import engine_choice, which_keras
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches

_PACKAGES = {'tf_keras': 'tfmot', 'keras': 'keras3'}


class FitData(Protocol):
  """The data of a running `fit`, which can be moved to a later position."""

  @property
  def initial_epoch(self) -> int:
    """The `initial_epoch` of the `fit`."""

  def steps_of_epoch(self) -> int:
    """Returns the number of steps of an epoch, 0 while it is unknown."""

  def shuffles_arrays(self) -> bool:
    """Returns whether the `fit` shuffles its arrays."""

  def watch(
    self, enter: Callable[[], None], leave: Callable[[], None], patches: Patches
  ) -> None:
    """Calls functions when the `fit` begins to train and when it ends.

    Args:
      enter: called when all callbacks have begun.
      leave: called at the end, also if the `fit` fails with an error.
      patches: those of the `fit`.
    """

  def resume(
    self,
    checkpoint: Any,
    before_epoch: Callable[[Any], None],
    at_end: Callable[[], None],
    patches: Patches,
  ) -> None:
    """Makes the `fit` resume where another one stopped.

    The data are read as Keras reads them, so that all state that reading
    changes (seeds of shuffling, generators, Python iterators) changes as it did
    in the earlier `fit`.

    Args:
      checkpoint: the checkpoint of the earlier `fit`.
      before_epoch: called with the iterator when it is in position, or for
        Keras 3 with the batch before it.
      at_end: called instead, if no epoch is left.
      patches: those of the `fit`.
    """

  def replay_validation(self, epochs: range) -> None:
    """Advances the seeds of validation data as completed epochs have done."""

  def restores_random_state(self, checkpoint: Any) -> bool:
    """Returns whether the random state of a checkpoint is to be restored.

    It is not where reading the data again has made it.
    """

  def random_states(self) -> dict[str, Any]:
    """Returns random states of earlier moments that `resume` needs."""

  def describe(self) -> dict[str, Any]:
    """Describes kind, shapes and dtypes of the data in plain values."""

  def describe_validation(self) -> Any:
    """Returns dtypes and shapes of validation data, `None` if unknown."""

  def contents(self) -> Any:
    """Returns a digest of the training data; `None` if it cannot be read."""

  def validation_contents(self) -> Any:
    """Returns the same of the validation data."""

  def add_last(self, callback: Any) -> None:
    """Lets Keras call a callback after all others."""

  def remove(self, callback: Any) -> None:
    """Takes out a callback that `add_last` added."""

  def is_running(self) -> Callable[[], bool]:
    """Returns a function that returns whether the `fit` still runs."""


class TrainingAccess(Protocol):
  """Reads and restores all that training changes in a model."""

  def fit(self) -> FitContext:
    """Returns the running `fit`; one with the defaults for a custom loop."""

  def data_of(self, fit: FitContext) -> FitData:
    """Returns the data of a `fit`."""

  # Compiled arguments and layers.

  def check_compiled(self) -> None:
    """Raises a `ValueError` if the model cannot be trained exactly."""

  def check_finite(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""

  def build_optimizer(self) -> None:
    """Creates the slots of the optimizer."""

  def compiled(self) -> dict[str, Any]:
    """Returns the arguments of `compile`; `{}` if they are unknown."""

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""

  @property
  def replicas(self) -> int:
    """The number of replicas that train."""

  @property
  def writes(self) -> bool:
    """Whether this process writes checkpoints."""

  def optimizers(self) -> dict[str, Any]:
    """Returns all optimizers by path; the compiled one is `optimizer`."""

  def inner(self, optimizer: Any) -> Any:
    """Returns the optimizer inside of one that scales losses."""

  def learning_rate_schedule(self, optimizer: Any) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""

  def number(self, value: Any) -> float:
    """Returns a scalar tensor or variable as a number."""

  def layers(self) -> list[Any]:
    """Returns the model and its layers, nested ones too."""

  def schedules(self) -> list[Any]:
    """Returns the pruning schedules, each once."""

  def schedule_numbers(self) -> Mapping[int, Any]:
    """Returns which of the schedules a layer has, by the layer's id."""

  def is_network(self, layer: Any) -> bool:
    """Returns whether a model is a Sequential or functional one."""

  def has_own_config(self, model: Any) -> bool:
    """Returns whether a model's class overrides Keras's `get_config`."""

  def network_config(self, network: Any) -> Mapping[str, Any] | None:
    """Returns Keras's configuration of a network without that of its layers.

    Returns:
      `input_layers`, `output_layers` and `layers`, each of which has its
      `inbound_nodes`. `None` for any other model.
    """

  # State.

  def make_restorable(self) -> None:
    """Gives layers that draw random numbers generators that can be saved."""

  def variables(self) -> dict[str, Any]:
    """Returns all variables by name, one per copy on a device."""

  def metric_variables(self) -> dict[str, Any]:
    """Returns the variables of the metrics of an epoch, by name."""

  @property
  def made_by_training(self) -> tuple[str, ...]:
    """The name prefixes of variables that only a train step creates."""

  def create_variables(self, data: Any) -> None:
    """Creates these variables and the metrics, if that needs no training.

    Args:
      data: what `before_epoch` of `FitData.resume` was called with.
    """

  def read(self, variable: Any) -> np.ndarray:
    """Returns the value of a variable."""

  def after_assign(self) -> None:
    """Called when variables have been assigned."""

  def get_states(self) -> dict[str, bytes]:
    """Returns the states of runs, by name."""

  def set_states(self, states: Mapping[str, bytes]) -> None:
    """Restores what `get_states` returned."""

  # Random numbers.

  def seed(self) -> int | None:
    """Returns the seed of `set_random_seed`, `None` if it was not called."""

  def get_random(self) -> dict[str, Any]:
    """Returns the random states that are not in variables of the model."""

  def set_random(self, state: Mapping[str, Any]) -> None:
    """Restores what `get_random` returned."""

  def warn_of_unrestorable(self) -> None:
    """Warns of state that cannot be restored, once steps were trained."""


def module_of(thing: Any, name: str) -> Any:
  """Returns a module of this room for the Keras that an object is of.

  Args:
    thing: a model.
    name: the name of the module in `resume/tfmot` and `resume/keras3`.

  Raises:
    TypeError: it is of no Keras that is supported.
  """
  engine_choice.check_keras(thing, 'model', 'Model')
  package = which_keras.package_of(thing)
  assert package is not None
  return importlib.import_module(
    f'tf_unilth.resume.{_PACKAGES[package]}.{name}'
  )


def access(model: Any) -> TrainingAccess:
  """Returns the access to a model of either Keras."""
  return module_of(model, 'training_access').access(model)
