"""RunConfig: what the flags say about a run, read once where it starts."""

import dataclasses

from recipes.data.dataset import Request


@dataclasses.dataclass(frozen=True)
class RunConfig:
  """The flags of a run by their names, but for those of its method.

  `run_flags.run_config` makes it; the flags' help says what each is.
  """

  data_dir: str | None
  download: bool
  train_examples: int | None
  validation_fraction: float
  method: str
  target_sparsity: float
  initial_weights: str | None
  lr_restart: bool | None
  epochs: int
  batch_size: int
  learning_rate: float
  warmup_epochs: float
  weight_decay: float
  label_smoothing: float
  clipnorm: float | None
  seed: int
  strategy: str
  mixed_precision: str
  jit_compile: bool
  steps_per_execution: int
  deterministic: bool
  overwrite: bool
  export: tuple[str, ...]
  plots: bool
  tensorboard: bool
  verbose: int

  @property
  def request(self) -> Request:
    """The data that the run asks for."""
    return Request(
      data_dir=self.data_dir,
      validation_fraction=self.validation_fraction,
      seed=self.seed,
      train_examples=self.train_examples,
      download=self.download,
    )
