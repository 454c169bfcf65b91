"""RunConfig: the flags of a run, read once where its program starts."""

import dataclasses
import importlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from recipes.data.dataset import DataOptions
from recipes.training import devices, pruning_flags, run_flags


@dataclasses.dataclass(frozen=True)
class PruningConfig:
  """The flags that say how to prune, by their names.

  `None` stands for a flag that is not given: the library's default applies.
  The help of the flags, in `pruning_flags`, says what each of them is.
  """

  method: str = 'unilth'
  target_sparsity: float = 0.9
  skip: tuple[str, ...] | None = None
  block_size: tuple[str, ...] | None = None
  sparsity_m_by_n: tuple[str, ...] | None = None
  structure: str | None = None
  prune_fraction: float | None = None
  rounds: int | None = None
  pace: str | None = None
  scope: str | None = None
  of: str | None = None
  limit: float | None = None
  power: float | None = None
  increment: float | None = None
  interval: int | None = None
  monitor: str | None = None
  mode: str | None = None
  patience: int | None = None
  min_delta: float | None = None
  rewind_epochs: int | None = None
  max_dense_fraction: float | None = None
  finetune_fraction: float | None = None
  lr_restart: bool | None = None
  pretrained: bool | None = None
  rewind_step: int | None = None
  begin_fraction: float | None = None
  end_fraction: float | None = None

  def given(self, names: Iterable[str]) -> dict[str, Any]:
    """Returns those of some flags that are given.

    >>> PruningConfig(rounds=3).given(('rounds', 'pace'))
    {'rounds': 3}
    """
    values = {name: getattr(self, name) for name in names}
    return {n: value for n, value in values.items() if value is not None}

  def read_flags(self) -> dict[str, Any]:
    """Returns the given flags that the method reads, the method first."""
    names = 'method', 'target_sparsity', *pruning_flags.READ[self.method]
    return self.given(names)


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """The flags of a run by their names; their help says what each of them is.

  `command_line.run_config` makes it.

  Args:
    pruning: those that say how to prune.
    recipe_flags: those that the recipe defines itself.
    command: the command that makes the same run again, without its paths.
  """

  pruning: PruningConfig
  recipe_flags: Mapping[str, Any]
  command: str
  data_dir: str | None
  download: bool
  train_examples: int | None
  validation_fraction: float
  initial_weights: str | None
  epochs: int
  batch_size: int
  learning_rate: float
  warmup_epochs: float
  weight_decay: float
  label_smoothing: float
  clipnorm: float | None
  seed: int
  keras: str
  strategy: str
  mixed_precision: str
  jit_compile: bool
  steps_per_execution: int
  deterministic: bool
  output_dir: pathlib.Path
  overwrite: bool
  export: tuple[str, ...]
  plots: bool
  tensorboard: bool
  verbose: int

  @property
  def keras_module(self) -> Any:
    """The module of the run's Keras."""
    return importlib.import_module(self.keras)

  @property
  def data_options(self) -> DataOptions:
    """The data that the run asks for."""
    return DataOptions(
      data_dir=self.data_dir,
      validation_fraction=self.validation_fraction,
      seed=self.seed,
      train_examples=self.train_examples,
      download=self.download,
      as_arrays=self.keras == 'keras',
    )

  def result_values(self, recipe_name: str) -> dict[str, Any]:
    """Returns all that the numbers of the run depend on, as JSON has it.

    Initial weights are identified by their content, wherever the file is.

    Args:
      recipe_name: of the recipe that runs.

    Raises:
      DataError: the file of the initial weights cannot be read.
    """
    names = [n for n in run_flags.RESULT_FLAGS if n not in pruning_flags.NAMES]
    given = {name: getattr(self, name) for name in names}
    given |= self.recipe_flags
    given = {name: v for name, v in given.items() if v is not None}
    if path := given.pop('initial_weights', None):
      from recipes.training import initial_weights  # It imports TensorFlow.

      given['initial_weights'] = initial_weights.digest(path)
    # Runs of before there was a choice do not name it.
    if given.pop('keras') == 'keras':
      given['keras'] = f'Keras 3 on {devices.backend()}'
    values = {'recipe': recipe_name, **self.pruning.read_flags(), **given}
    return {
      name: list(value) if isinstance(value, tuple) else value
      for name, value in values.items()
    }
