"""The masks of a run: made from scores, written, counted, kept on the host."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.run_state import RunState
from tf_unilth.selection import mask_selection, round_sparsity
from tf_unilth.selection.unit import Structure
from tf_unilth.wording import count

# Targets that a user may write for m / n: 0.333333 for 1 / 3.
_SAME_TARGET = 1e-6


class Pruner:
  """Moves the masks of a model's wrapped layers to the sparsity of a round.

  Layers that share a schedule are one group, ranked and counted together, in
  units of the structure that they share.

  Args:
    layers: the wrapped layers.
    pace: the pace of schedules that leave it open.
    scope: gives the scope in which a schedule's layers are ranked.

  Raises:
    ValueError: a target that the structure cannot have or that leaves less
      than one unit per layer, a schedule whose layers differ in structure, or
      schedules that disagree on their rounds.
  """

  def __init__(
    self,
    layers: PrunedLayers,
    pace: str,
    scope: Callable[[IterativeSparsity], str],
  ):
    self._layers = layers
    self._pace = pace
    self._scope = scope
    self.masks: list[np.ndarray] = []
    self._groups: dict[IterativeSparsity, list[int]] = {}
    for index, kernel in enumerate(layers.kernels):
      self._groups.setdefault(kernel.schedule, []).append(index)
    self._sizes = [math.prod(k.weight.shape) for k in layers.kernels]
    self._structures = [k.structure for k in layers.kernels]
    self._unit_counts = [
      k.structure.mask_to_units(np.ones(k.weight.shape, bool)).size
      for k in layers.kernels
    ]
    self._check_rounds()
    for schedule in self._pruning:
      self._check_structure(schedule)
      self._check_target(schedule)

  @property
  def schedules(self) -> list[IterativeSparsity]:
    """The schedules of the wrapped layers, each once, in order."""
    return list(self._groups)

  @property
  def _pruning(self) -> dict[IterativeSparsity, list[int]]:
    """The groups but for those that merely hold what is zero."""
    return {
      schedule: members
      for schedule, members in self._groups.items()
      if not isinstance(schedule, FixedMask)
    }

  @property
  def is_inert(self) -> bool:
    """Whether there is nothing to prune and nothing to hold."""
    return self.target_zeros == 0 and len(self._pruning) == len(self._groups)

  @property
  def has_begun(self) -> bool:
    """Whether layers that are to be pruned have been, in part."""
    groups = self._pruning.values()
    return any(_zeros(self.masks[i]) for members in groups for i in members)

  @property
  def explicit_rounds(self) -> int | None:
    """The number of rounds that a schedule asks for, if one does."""
    return next((s.rounds for s in self._groups if s.rounds), None)

  @property
  def total(self) -> int:
    """How many weights are wrapped."""
    return sum(self._sizes)

  @property
  def zeros(self) -> int:
    """How many weights the masks remove."""
    return sum(_zeros(mask) for mask in self.masks)

  @property
  def target_zeros(self) -> int:
    """How many weights shall be zero in the end.

    Blocks at the edges of a matrix may be smaller, and which of them go is
    not known before: with them it is what as many average blocks would be.
    """
    held = set(range(len(self.masks))).difference(*self._pruning.values())
    return sum(_zeros(self.masks[i]) for i in held) + sum(
      round(self._target_units(schedule) * self._unit_size(schedule))
      for schedule in self._pruning
    )

  @property
  def reached_target(self) -> bool:
    """Whether the units that were asked for are cut, in every group."""
    return all(
      sum(_zeros(self._units(i, self.masks[i])) for i in members)
      >= self._target_units(schedule)
      for schedule, members in self._pruning.items()
    )

  def attach_to_run(self, model: keras.Model) -> RunState:
    """Takes the schedules over for a model; returns their one state."""
    first, *others = self._layers.schedules
    state = first.attach_to_run(model)
    for schedule in others:
      schedule.attach_to_run(model, state)
    return state

  def load_masks(self) -> None:
    """Takes the masks that the model holds now."""
    self.masks = self._layers.read_masks()
    self._tell_sparsity()

  def masks_at(
    self, number: int, rounds: int, scores: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the masks that the end of round `number` would make now."""
    result = list(self.masks)
    for schedule, members in self._pruning.items():
      sparsity = schedule.sparsity_at(number, rounds, self._pace)
      structure = self._structure(schedule)
      chosen = mask_selection.select(
        [
          self._structures[i].scores_to_units(scores[i], self.masks[i])
          for i in members
        ],
        [self._units(i, self.masks[i]) for i in members],
        structure.unit_sparsity(sparsity, schedule.target_sparsity),
        self._scope(schedule),
        structure.min_units_kept,
      )
      for index, units in zip(members, chosen, strict=True):
        result[index] = self._structures[index].to_weights(
          units, scores[index], self.masks[index]
        )
    return result

  def apply_masks(self, new: list[np.ndarray]) -> None:
    """Writes masks into the model, and warns of layers that they empty."""
    for index, kernel in enumerate(self._layers.kernels):
      before = self._units(index, self.masks[index])
      units = self._units(index, new[index])
      left, noun = np.count_nonzero(units), kernel.structure.unit_name
      # Where a layer may lose all its units, that leaves it weights.
      if kernel.structure.min_units_kept and left == 1 < np.count_nonzero(
        before
      ):
        warnings.warn(
          f'layer {kernel.name!r} is down to its last {noun} of {units.size}: '
          "a lower target_sparsity, scope='erk' or leaving it unwrapped "
          'would keep more of it.',
          stacklevel=2,
        )
    self._layers.assign_masks(new)
    self.masks = new
    self._tell_sparsity()

  def restore_masks(self) -> bool:
    """Puts the masks back if something overwrote them; returns whether."""
    present = self._layers.read_masks()
    weights = self._layers.read_weights()
    intact = all(
      np.array_equal(mask, mine) and not weight[~mine].any()
      for mask, mine, weight in zip(present, self.masks, weights, strict=True)
    )
    # Written in any case: products with a mask leave negative zeros behind.
    self._layers.assign_masks(self.masks)
    return not intact

  def _tell_sparsity(self) -> None:
    for schedule, members in self._groups.items():
      zeros = sum(_zeros(self.masks[i]) for i in members)
      schedule.sparsity.assign(zeros / self._size(schedule))

  def _size(self, schedule: IterativeSparsity) -> int:
    return sum(self._sizes[i] for i in self._groups[schedule])

  def _units(self, index: int, mask: np.ndarray) -> np.ndarray:
    """Returns which units of a kernel a mask of its weights keeps."""
    return self._structures[index].mask_to_units(mask)

  def _structure(self, schedule: IterativeSparsity) -> Structure:
    return self._structures[self._groups[schedule][0]]

  def _target_units(self, schedule: IterativeSparsity) -> int:
    structure, target = self._structure(schedule), schedule.target_sparsity
    share = structure.unit_sparsity(target, target)
    return round_sparsity.zeros_at(share, self._unit_count(schedule))

  def _unit_count(self, schedule: IterativeSparsity) -> int:
    return sum(self._unit_counts[i] for i in self._groups[schedule])

  def _unit_size(self, schedule: IterativeSparsity) -> float:
    """Returns how many zeros a unit makes, on average."""
    zeros = sum(
      self._structures[i].most_zeros(self._layers.kernels[i].weight.shape)
      for i in self._groups[schedule]
    )
    return zeros / self._unit_count(schedule)

  def _check_structure(self, schedule: IterativeSparsity) -> None:
    first, *others = self._groups[schedule]
    structure = self._structures[first]
    for other in others:
      if self._structures[other] != structure:
        kernels = self._layers.kernels
        raise ValueError(
          'layers that share a schedule must share block_size, '
          'block_pooling_type and sparsity_m_by_n, but layer '
          f'{kernels[first].name!r} has {structure} and layer '
          f'{kernels[other].name!r} has {self._structures[other]}: give them '
          'schedules of their own.'
        )

  def _check_rounds(self) -> None:
    rounds = {schedule.rounds for schedule in self._groups if schedule.rounds}
    if len(rounds) > 1:
      raise ValueError(
        'rounds of the schedules in one model must agree, but are '
        f'{sorted(rounds)}.'
      )

  def _check_target(self, schedule: IterativeSparsity) -> None:
    structure, target = self._structure(schedule), schedule.target_sparsity
    only = structure.only_target
    if target and only and abs(target - only) > _SAME_TARGET:
      raise ValueError(
        f'target_sparsity of layers with {structure} must be {only:.7g} or 0, '
        f'but is {target}.'
      )
    size, layers = self._unit_count(schedule), len(self._groups[schedule])
    zeros = self._target_units(schedule)
    if zeros > size - layers * structure.min_units_kept:
      highest = math.floor((size - layers) / size * 1e6) / 1e6
      raise ValueError(
        f'target_sparsity={target} asks for {zeros} zeros '
        f'among {size} {structure.unit_name}s, but each of '
        f'{count(layers, "layer")} keeps '
        f'at least one: it must be at most {highest}.'
      )


def _zeros(mask: np.ndarray) -> int:
  return mask.size - int(np.count_nonzero(mask))
