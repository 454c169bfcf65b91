"""The masks of a run: made from scores, written, counted, kept on the host."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tf_unilth import masks
from tf_unilth.compat import keras
from tf_unilth.pruned_layers import PrunedLayers
from tf_unilth.run_state import RunState
from tf_unilth.sparsity_schedule import IterativeSparsity


class Pruner:
  """Moves the masks of a model's wrapped layers to the sparsity of a round.

  Layers that share a schedule are one group, ranked and counted together.

  Args:
    layers: the wrapped layers.
    pace: the pace of schedules that leave it open.
    scope: gives the scope in which a schedule's layers are ranked.

  Raises:
    ValueError: a target that leaves less than one weight per layer, or
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
    self._check_rounds()
    for schedule in self._groups:
      self._check_target(schedule)

  @property
  def schedules(self) -> list[IterativeSparsity]:
    """The schedules of the wrapped layers, each once, in order."""
    return list(self._groups)

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
    """How many weights shall be zero in the end."""
    return sum(
      masks.zeros_at(schedule.target_sparsity, self._size(schedule))
      for schedule in self._groups
    )

  def drive(self, model: keras.Model) -> RunState:
    """Takes the schedules over for a model; returns their one state."""
    first, *others = self._layers.schedules
    state = first.drive(model)
    for schedule in others:
      schedule.drive(model, state)
    return state

  def read(self) -> None:
    """Takes the masks that the model holds now."""
    self.masks = self._layers.read_masks()
    self._tell_sparsity()

  def masks_at(
    self, number: int, rounds: int, scores: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the masks that the end of round `number` would make now."""
    result = list(self.masks)
    for schedule, members in self._groups.items():
      chosen = masks.select(
        [scores[i] for i in members],
        [self.masks[i] for i in members],
        schedule.sparsity_at(number, rounds, self._pace),
        self._scope(schedule),
      )
      for index, mask in zip(members, chosen, strict=True):
        result[index] = mask
    return result

  def write(self, new: list[np.ndarray]) -> None:
    """Writes masks into the model, and warns of layers that they empty."""
    for kernel, old, mask in zip(
      self._layers.kernels, self.masks, new, strict=True
    ):
      if mask.size - _zeros(mask) == 1 < mask.size - _zeros(old):
        warnings.warn(
          f'layer {kernel.name!r} is down to its last weight of {mask.size}: '
          "a lower target_sparsity, scope='erk' or leaving it unwrapped "
          'would keep more of it.',
          stacklevel=2,
        )
    self._layers.assign_masks(new)
    self.masks = new
    self._tell_sparsity()

  def hold(self) -> bool:
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

  def _check_rounds(self) -> None:
    rounds = {schedule.rounds for schedule in self._groups if schedule.rounds}
    if len(rounds) > 1:
      raise ValueError(
        'rounds of the schedules in one model must agree, but are '
        f'{sorted(rounds)}.'
      )

  def _check_target(self, schedule: IterativeSparsity) -> None:
    size, layers = self._size(schedule), len(self._groups[schedule])
    zeros = masks.zeros_at(schedule.target_sparsity, size)
    if zeros > size - layers:
      highest = math.floor((size - layers) / size * 1e6) / 1e6
      raise ValueError(
        f'target_sparsity={schedule.target_sparsity} asks for {zeros} zeros '
        f'among {size} weights, but each of {layers} layers keeps at least '
        f'one: it must be at most {highest}.'
      )


def _zeros(mask: np.ndarray) -> int:
  return mask.size - int(np.count_nonzero(mask))
