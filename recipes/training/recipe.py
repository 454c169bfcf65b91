"""What one recipe has of its own."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tf_keras as keras

from recipes.data.dataset import DataOptions, Dataset


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What one recipe has of its own; the rest is the same for all.

  Numbers are as published, for SGD, and defaults of the flags of their name.

  Args:
    name: of the binary.
    load: returns the data as its options say.
    build: returns the model for (image_shape, classes), which gives logits.
    epochs: of the run.
    batch_size: images per step, over all replicas.
    learning_rate: the highest.
    momentum: of SGD.
    nesterov: whether it is Nesterov's momentum.
    weight_decay: L2, added to the gradient: weight_decay * w.
    warmup_epochs: in which the learning rate rises; of fewer epochs than
      `epochs` it is the same share.
    label_smoothing: in [0, 1).
    decay: of the learning rate, `'cosine'` or `'step'`.
    boundaries: for `'step'`, at which shares of the epochs the learning rate
      falls to a tenth.
    skip: names of layers that are not pruned.
    flags: names of flags of its own, on which the numbers of a run depend.
    with_flags: returns the recipe for values of `flags`, given by name; `None`
      for a recipe that does not depend on them.
  """

  name: str
  load: Callable[[DataOptions], Dataset]
  build: Callable[[tuple[int, ...], int], keras.Model]
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
  flags: tuple[str, ...] = ()
  with_flags: Callable[..., 'Recipe'] | None = None

  def configured(self, values: Mapping[str, Any]) -> 'Recipe':
    """Returns the recipe for values of its own flags, by name."""
    return self if self.with_flags is None else self.with_flags(**values)
