"""PruningPlan: what `prune_low_magnitude` notes on a Keras 3 model."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.engines.keras3 import backend_values, kernel_table, layer_tree
from tf_unilth.engines.keras3.step_variables import StepVariables
from tf_unilth.run.run_state import FINETUNING, RunState
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.selection import pruning_units
from tf_unilth.selection.unit import Structure

ATTRIBUTE = '_pruning_plan'


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedKernel:
  """One prunable weight of a model.

  Args:
    name: the name of its layer, with a suffix if the layer has several.
    variable: the Keras variable.
    schedule: the `IterativeSparsity` of its layer.
    structure: the units in which it is pruned.
  """

  name: str
  variable: Any
  schedule: IterativeSparsity
  structure: Structure

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape of the weight."""
    return tuple(self.variable.shape)


class PruningPlan:
  """The schedules, masks and run of a model, until `strip_pruning`.

  Args:
    model: a Keras 3 model.
    schedule: the schedule of layers that `schedules` does not name.
    units: the arguments `block_size`, `block_pooling_type` and
      `sparsity_m_by_n` of `prune_low_magnitude`.
    skipped: the layers that stay dense.
    schedules: the schedules of some layers.
  """

  def __init__(
    self,
    model: keras.Model,
    schedule: IterativeSparsity,
    units: Mapping[str, Any],
    skipped: Sequence[Any],
    schedules: Mapping[Any, IterativeSparsity],
  ):
    self.model = model
    self.skipped = tuple(skipped)
    self.state = RunState()
    self.hooks: Any = None  # The `ModelHooks`, once they are on the model.
    # Whether a ticket callback has used the plan.
    self.was_attached = False
    # Whether the layers that stay dense were named in a warning.
    self.has_warned = False
    self._schedule, self._units = schedule, units
    self._own_schedules = {id(layer): s for layer, s in schedules.items()}
    self._kernels: list[PlannedKernel] | None = None
    self._masks: list[np.ndarray] = []
    self._variables: StepVariables | None = None

  @property
  def kernels(self) -> list[PlannedKernel]:
    """The kernels to prune; none before the model is built."""
    if self._kernels is None and kernel_table.is_built(self.model):
      self.fix_kernels()
    if self._kernels is None and self.model.built:
      return self._find_kernels()  # Layers inside may still be built.
    return self._kernels or []

  def fix_kernels(self) -> None:
    """Fixes the kernels and their first masks, when training begins."""
    if self._kernels is None:
      self._kernels = self._find_kernels()
      self._masks = self._first_masks(self._kernels)

  def _find_kernels(self) -> list[PlannedKernel]:
    stay_dense = {
      id(inner) for layer in self.skipped for inner in layer_tree.inside(layer)
    }
    found = []
    for name, kernel, layer in layer_tree.model_kernels(self.model):
      if id(layer) in stay_dense or id(kernel.owner) in stay_dense:
        continue
      structure = pruning_units.from_arguments(
        **self._units, axis=kernel_table.input_axis(kernel)
      )
      schedule = self._own_schedules.get(id(layer), self._schedule)
      found.append(PlannedKernel(name, kernel.variable, schedule, structure))
    return found

  def _first_masks(self, kernels: Sequence[PlannedKernel]) -> list[np.ndarray]:
    return [
      backend_values.read(kernel.variable) != 0
      if isinstance(kernel.schedule, FixedMask)
      else np.ones(kernel.shape, bool)
      for kernel in kernels
    ]

  @property
  def masks(self) -> list[np.ndarray]:
    """The masks, True where a weight is kept. Do not write them."""
    kernels = self.kernels
    return self._first_masks(kernels) if self._kernels is None else self._masks

  @property
  def has_zeros(self) -> bool:
    """Whether any weight is pruned."""
    return not all(mask.all() for mask in self.masks)

  @property
  def schedules(self) -> list[IterativeSparsity]:
    """The schedules of the kernels, each once."""
    return list(dict.fromkeys(kernel.schedule for kernel in self.kernels))

  @property
  def variables(self) -> StepVariables:
    """What train steps read; created at first use."""
    if self._variables is None:
      self.fix_kernels()
      with variable_scope(self.model):
        self._variables = StepVariables(self.masks)
    return self._variables

  def set_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the masks, and the weights that they prune to zero.

    Args:
      masks: a boolean array per kernel, True where a weight is kept.
    """
    backend_values.sync(self.model)
    variables = self.variables  # With the masks until now.
    self._masks = [np.array(mask, bool) for mask in masks]
    for variable, mask in zip(variables.masks, self._masks, strict=True):
      variable.assign(mask)
    self.zero_pruned()

  def zero_pruned(self) -> None:
    """Sets pruned weights to zero."""
    backend_values.sync(self.model)
    for kernel, mask in zip(self.kernels, self.masks, strict=True):
      if not mask.all():
        value = backend_values.read(kernel.variable)
        value[~mask] = 0
        kernel.variable.assign(value)

  def read_weights(self) -> list[np.ndarray]:
    """Returns copies of the kernels in float32."""
    backend_values.sync(self.model)
    return [
      backend_values.read(kernel.variable).astype(np.float32)
      for kernel in self.kernels
    ]

  @property
  def needs_callback(self) -> bool:
    """Whether a ticket callback must prune before the model may train."""
    return not self.was_attached and any(
      not isinstance(schedule, FixedMask)
      for schedule in (self._schedule, *self.schedules)
    )

  def are_at_target(self) -> bool:
    """Returns whether all rounds of pruning are complete."""
    if not any(schedule.target_sparsity for schedule in self.schedules):
      return True
    return self.state.stage == FINETUNING

  def check(self) -> None:
    """Raises a `ValueError` if a ticket callback cannot prune the layers."""
    if not self.model.built:
      raise ValueError(
        f'model {self.model.name!r} has no weights yet: give it an input '
        'shape, or call it on a batch before training.'
      )
    if not self.kernels:
      raise ValueError(
        f'model {self.model.name!r} has no kernel to prune outside of skip.'
      )
    for kernel in self.kernels:
      if not kernel.structure.fits(kernel.shape):
        raise ValueError(
          f'{kernel.structure.needs}, but the kernel of layer '
          f'{kernel.name!r} has shape {kernel.shape}: name that layer in skip.'
        )


def variable_scope(model: keras.Model) -> Any:
  """Returns the scope in which variables of a model are created."""
  if keras.backend.backend() == 'tensorflow':
    return model.distribute_strategy.scope()
  return keras.name_scope('pruning')


def plan_of(model: keras.Model) -> PruningPlan | None:
  """Returns the plan of a model, `None` without one."""
  return vars(model).get(ATTRIBUTE)


def planned(model: keras.Model) -> PruningPlan:
  """Returns the plan of a model.

  Args:
    model: a Keras 3 model.

  Raises:
    ValueError: it has none.
  """
  plan = plan_of(model)
  if plan is not None:
    return plan
  inside = [
    repr(layer.name)
    for layer in layer_tree.inside(model)
    if isinstance(layer, keras.Model) and plan_of(layer) is not None
  ]
  hint = (
    f' prune_low_magnitude was called on {", ".join(inside)} inside of it: '
    'call it on the model that is trained.'
    if inside
    else ''
  )
  raise ValueError(
    f'model {model.name!r} was not passed to tf_unilth.prune_low_magnitude: '
    'call model = prune_low_magnitude(model, IterativeSparsity(...)) before '
    f'fit.{hint}'
  )
