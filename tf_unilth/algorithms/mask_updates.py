"""The masks of a run: computed from scores, applied, counted, restored."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.engines.engine import Engine
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.selection import mask_selection, round_sparsity
from tf_unilth.selection.unit import Structure
from tf_unilth.user_warning import warn_user
from tf_unilth.wording import count, percent

# So that 0.333333 is accepted for 1 / 3.
_TARGET_TOLERANCE = 1e-6


class Pruner:
  """Sets the masks of the wrapped layers of a model to the sparsity of a round.

  Layers that share a schedule are a group. They are ranked and counted
  together, in units of their structure, which must be the same. The masks are
  boolean arrays on the host, `True` for the weights that are kept.

  Args:
    engine: has the kernels.
    pace: the pace of schedules whose `pace` is None.
    ranking_scope: returns the scope in which a schedule's layers are ranked.

  Raises:
    ValueError: a target is not possible for the structure or leaves less than
      one unit per layer, the layers of a schedule differ in structure, the
      schedules differ in `rounds`, or a target is a share of FLOPs.
  """

  def __init__(
    self,
    engine: Engine,
    pace: str,
    ranking_scope: Callable[[IterativeSparsity], str],
  ):
    self._engine = engine
    self._pace = pace
    self._ranking_scope = ranking_scope
    self.masks: list[np.ndarray] = []
    self._groups: dict[IterativeSparsity, list[int]] = {}
    for index, kernel in enumerate(engine.kernels):
      self._groups.setdefault(kernel.schedule, []).append(index)
    self._sizes = [math.prod(k.shape) for k in engine.kernels]
    self._structures = [k.structure for k in engine.kernels]
    self._unit_counts = [
      k.structure.mask_to_units(np.ones(k.shape, bool)).size
      for k in engine.kernels
    ]
    self._check_rounds()
    for schedule in self._pruning_groups:
      self._check_of(schedule)
      self._check_structure(schedule)
      self._check_target(schedule)

  def rounds_needed(self, pace: str) -> int:
    """Returns the rounds that a schedule sets, or that the longest one needs.

    Args:
      pace: the pace of schedules without one.
    """
    needed = max(schedule.rounds_needed(pace) for schedule in self._groups)
    return self.explicit_rounds or needed

  @property
  def _pruning_groups(self) -> dict[IterativeSparsity, list[int]]:
    """The groups without those of a `FixedMask`, which prunes nothing."""
    return {
      schedule: members
      for schedule, members in self._groups.items()
      if not isinstance(schedule, FixedMask)
    }

  @property
  def is_inert(self) -> bool:
    """Whether there is nothing to prune and no zeros to keep."""
    return self.target_zeros == 0 and len(self._pruning_groups) == len(
      self._groups
    )

  @property
  def has_begun(self) -> bool:
    """Whether some weights of the layers to prune are pruned already."""
    groups = self._pruning_groups.values()
    return any(_zeros(self.masks[i]) for members in groups for i in members)

  @property
  def explicit_rounds(self) -> int | None:
    """The number of rounds that a schedule sets, `None` if none does."""
    return next((s.rounds for s in self._groups if s.rounds), None)

  @property
  def total(self) -> int:
    """The number of wrapped weights."""
    return sum(self._sizes)

  @property
  def zeros(self) -> int:
    """The number of weights that the masks remove."""
    return sum(_zeros(mask) for mask in self.masks)

  @property
  def target_zeros(self) -> int:
    """The number of weights that are zero at the target.

    Blocks at the edges of a matrix may be smaller, and it is not known before
    which of them are pruned: with blocks, it is an estimate from their average
    size.
    """
    fixed = set(range(len(self.masks))).difference(
      *self._pruning_groups.values()
    )
    return sum(_zeros(self.masks[i]) for i in fixed) + sum(
      round(self._target_units(schedule) * self._unit_size(schedule))
      for schedule in self._pruning_groups
    )

  @property
  def reached_target(self) -> bool:
    """Whether every group has its target number of pruned units."""
    return all(
      sum(_zeros(self._kept_units(i, self.masks[i])) for i in members)
      >= self._target_units(schedule)
      for schedule, members in self._pruning_groups.items()
    )

  @property
  def target_text(self) -> str:
    """The target, for messages."""
    return percent(self.target_zeros / self.total)

  @property
  def present_text(self) -> str:
    """The present sparsity, for messages."""
    return percent(self.zeros / self.total)

  @property
  def result_text(self) -> str:
    """The number of zeros, for messages."""
    return f'{self.zeros:,} of {self.total:,} weights are zero'

  @property
  def missed_text(self) -> str:
    """The number of zeros and that of the target, for messages."""
    return f'{self.result_text} instead of {self.target_zeros:,}'

  @property
  def shares(self) -> dict[str, float]:
    """The fraction of zeros, by its name in the epoch logs."""
    return {'sparsity': self.zeros / self.total}

  def read_scores(self, scores: Scores) -> Sequence[np.ndarray]:
    """Returns the present scores, for `masks_at`.

    Args:
      scores: rank the weights.
    """
    return scores.weight_scores(self._engine)

  def load_masks(self) -> None:
    """Reads the present masks of the model."""
    self.masks = self._engine.read_masks()

  def masks_at(
    self, number: int, rounds: int, scores: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the masks of the end of a round, from the present scores.

    Args:
      number: the round, at least 1.
      rounds: the number of rounds.
      scores: an array of the kernel's shape for each wrapped kernel.
    """
    result = list(self.masks)
    for schedule, members in self._pruning_groups.items():
      sparsity = schedule.sparsity_at(number, rounds, self._pace)
      structure = self._structure(schedule)
      chosen = mask_selection.select(
        [
          self._structures[i].scores_to_units(scores[i], self.masks[i])
          for i in members
        ],
        [self._kept_units(i, self.masks[i]) for i in members],
        structure.unit_sparsity(sparsity, schedule.target_sparsity),
        self._ranking_scope(schedule),
        structure.min_units_kept,
      )
      for index, units in zip(members, chosen, strict=True):
        result[index] = self._structures[index].to_weights(
          units, scores[index], self.masks[index]
        )
    return result

  def apply_masks(self, new: list[np.ndarray]) -> None:
    """Writes masks into the model; warns of layers left with one unit.

    Args:
      new: an array of the kernel's shape for each wrapped kernel.
    """
    for index, kernel in enumerate(self._engine.kernels):
      before = np.count_nonzero(self._kept_units(index, self.masks[index]))
      units = self._kept_units(index, new[index])
      # A layer that may lose all its units has other weights left.
      if (
        kernel.structure.min_units_kept
        and np.count_nonzero(units) == 1 < before
      ):
        warn_user(
          f'layer {kernel.name!r} is down to its last '
          f'{kernel.structure.unit_name} of {units.size}: a lower '
          "target_sparsity, scope='erk' or leaving the layer unwrapped would "
          'keep more of it.',
        )
    self._write_masks(new)

  def _write_masks(self, new: list[np.ndarray]) -> None:
    self._engine.write_masks(new)
    self.masks = new

  def restore_masks(self) -> bool:
    """Restores masks and zeros.

    Returns:
      Whether masks or pruned weights had been overwritten.
    """
    present = self._engine.read_masks()
    weights = self._engine.read_weights()
    intact = all(
      np.array_equal(mask, own) and not weight[~own].any()
      for mask, own, weight in zip(present, self.masks, weights, strict=True)
    )
    # Written in any case, since products with a mask leave negative zeros.
    self._engine.write_masks(self.masks)
    return not intact

  def _kept_units(self, index: int, mask: np.ndarray) -> np.ndarray:
    """Returns the units of a kernel that a mask of its weights keeps."""
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
    """Returns the average number of zeros of a pruned unit."""
    zeros = sum(
      self._structures[i].most_zeros(self._engine.kernels[i].shape)
      for i in self._groups[schedule]
    )
    return zeros / self._unit_count(schedule)

  def _check_of(self, schedule: IterativeSparsity) -> None:
    if schedule.of != 'weights':
      raise ValueError(
        f"of={schedule.of!r} of the schedule needs structure='channels': "
        'single zeros and blocks of them save no FLOPs.'
      )

  def _check_structure(self, schedule: IterativeSparsity) -> None:
    first, *others = self._groups[schedule]
    structure = self._structures[first]
    for other in others:
      if self._structures[other] != structure:
        kernels = self._engine.kernels
        raise ValueError(
          'layers that share a schedule must share block_size, '
          'block_pooling_type and sparsity_m_by_n, but layer '
          f'{kernels[first].name!r} has {structure} and layer '
          f'{kernels[other].name!r} has {self._structures[other]}: use a '
          'schedule for each.'
        )

  def _check_rounds(self) -> None:
    rounds = {schedule.rounds for schedule in self._groups if schedule.rounds}
    if len(rounds) > 1:
      raise ValueError(
        'rounds of the schedules of a model must agree, but are '
        f'{sorted(rounds)}.'
      )

  def _check_target(self, schedule: IterativeSparsity) -> None:
    structure, target = self._structure(schedule), schedule.target_sparsity
    only = structure.only_target
    if target and only and abs(target - only) > _TARGET_TOLERANCE:
      raise ValueError(
        f'target_sparsity of layers with {structure} must be {only:.7g} or 0, '
        f'but is {target}.'
      )
    size, layers = self._unit_count(schedule), len(self._groups[schedule])
    zeros = self._target_units(schedule)
    if zeros > size - layers * structure.min_units_kept:
      highest = math.floor((size - layers) / size * 1e6) / 1e6
      raise ValueError(
        f'target_sparsity={target} asks for {count(zeros, "zero")} among '
        f'{count(size, structure.unit_name)}, but each of '
        f'{count(layers, "layer")} keeps at least one: it must be at most '
        f'{highest}.'
      )


def _zeros(mask: np.ndarray) -> int:
  return mask.size - int(np.count_nonzero(mask))
