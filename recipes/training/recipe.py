"""Recipe: the data, network and hyperparameters of one experiment."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from recipes.data.dataset import DataOptions, Dataset


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The data, network and hyperparameters of one experiment.

  Numbers are published settings for SGD. Those that are also flags are the
  defaults of the flags of the same name.

  Args:
    name: of the program.
    load: returns the data as its options say.
    build: returns the model for (keras, image_shape, classes), which gives
      logits; `keras` is the module of either Keras.
    epochs: of the run.
    batch_size: images per step, over all replicas.
    learning_rate: the peak.
    momentum: of SGD.
    nesterov: whether it is Nesterov's momentum.
    weight_decay: L2, added to the gradient: weight_decay * w.
    warmup_epochs: epochs in which the learning rate rises; for another number
      of epochs than `epochs`, the same fraction of them.
    label_smoothing: in [0, 1).
    decay: of the learning rate, `'cosine'` or `'step'`.
    boundaries: for `'step'`, the fractions of the epochs after which the
      learning rate falls to a tenth.
    skip: names of layers that are not pruned.
    patience: epochs without improvement that make a plateau; `None` for the
      library's default.
    flags: names of flags of its own, on which the numbers of a run depend.
    with_flags: returns the recipe for values of `flags`, given by name; `None`
      for a recipe that does not depend on them.
  """

  name: str
  load: Callable[[DataOptions], Dataset]
  build: Callable[[Any, tuple[int, ...], int], Any]
  epochs: int
  batch_size: int
  learning_rate: float
  momentum: float = 0.9
  nesterov: bool = False
  weight_decay: float = 0.0
  warmup_epochs: float = 0
  label_smoothing: float = 0.0
  decay: str = 'cosine'
  boundaries: tuple[float, ...] = ()
  skip: tuple[str, ...] = ()
  patience: int | None = None
  flags: tuple[str, ...] = ()
  with_flags: Callable[..., 'Recipe'] | None = None

  def configured(self, values: Mapping[str, Any]) -> 'Recipe':
    """Returns the recipe for values of its own flags, by name."""
    return self if self.with_flags is None else self.with_flags(**values)
