"""ChannelPruner: masks that remove whole channels."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.engines.engine import Engine
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.selection import channel_selection
from tf_unilth.selection.channels import Channels
from tf_unilth.user_warning import warn_user
from tf_unilth.wording import count, percent

_TOLERANCE = 1e-9


class ChannelPruner(Pruner):
  """Sets the masks of a model whose whole channels are pruned.

  Its target is a share of the wrapped weights or of the FLOPs, which the fewest
  units reach. All layers share one schedule, because units are coupled over
  layers.

  Args:
    engine: has the kernels and their units.
    pace: the pace of a schedule whose `pace` is None.
    ranking_scope: returns the scope in which a schedule's layers are ranked.

  Raises:
    ValueError: the target would leave a layer without a channel, or the layers
      have several schedules.
  """

  def __init__(
    self,
    engine: Engine,
    pace: str,
    ranking_scope: Callable[[IterativeSparsity], str],
  ):
    assert engine.channels is not None
    self._channels: Channels = engine.channels
    super().__init__(engine, pace, ranking_scope)
    self._total = self._channels.total('weights')

  @property
  def _schedule(self) -> IterativeSparsity:
    return next(iter(self._groups))

  @property
  def _units(self) -> np.ndarray:
    """The mask of units."""
    return self._channels.kept_units(self.masks)

  @property
  def is_inert(self) -> bool:
    """Whether there is nothing to prune."""
    return self._schedule.target_sparsity == 0

  @property
  def total(self) -> int:
    """The number of wrapped weights, without biases."""
    return self._total

  @property
  def zeros(self) -> int:
    """The number of wrapped weights that the masks remove."""
    return self.total - sum(
      int(np.count_nonzero(mask))
      for weight, mask in zip(self._channels.weights, self.masks, strict=True)
      if weight.is_counted
    )

  @property
  def reached_target(self) -> bool:
    """Whether the target share of weights or FLOPs is gone."""
    gone = self._channels.removed(self._schedule.of, self._units)
    return gone >= self._schedule.target_sparsity - _TOLERANCE

  @property
  def target_text(self) -> str:
    """The target, for messages."""
    of = 'FLOPs' if self._schedule.of == 'flops' else 'weights'
    return f'{percent(self._schedule.target_sparsity)} of the {of}'

  @property
  def present_text(self) -> str:
    """The exact shares that are gone, for messages."""
    nouns = 'weights', 'FLOPs'
    return ' and '.join(
      f'{percent(share)} of the {noun}'
      for share, noun in zip(self.shares.values(), nouns, strict=False)
    )

  @property
  def result_text(self) -> str:
    """What is gone, for messages."""
    units = self._units
    gone = units.size - int(np.count_nonzero(units))
    return (
      f'{gone:,} of {count(units.size, "channel")} are removed, '
      f'{self.present_text}'
    )

  @property
  def missed_text(self) -> str:
    """What is missing at the end of a run, for messages."""
    return f'{self.result_text}, instead of {self.target_text}'

  @property
  def shares(self) -> dict[str, float]:
    """The shares of the weights and of the FLOPs that are gone, by log name."""
    shares = {'sparsity': self.zeros / self.total}
    if self._channels.flops is not None:
      gone = self._channels.removed('flops', self._units)
      shares['flops_sparsity'] = gone
    return shares

  def read_scores(self, scores: Scores) -> Sequence[np.ndarray]:
    """Returns the present scores of the units, as the only entry of a list."""
    return [scores.unit_scores(self._engine, self._channels)]

  def masks_at(
    self, number: int, rounds: int, scores: Sequence[np.ndarray]
  ) -> list[np.ndarray]:
    """Returns the masks of the end of a round, from the present scores.

    Args:
      number: the round, at least 1.
      rounds: the number of rounds.
      scores: what `read_scores` returned.
    """
    schedule = self._schedule
    units = channel_selection.select_units(
      self._channels,
      scores[0],
      self._units,
      schedule.sparsity_at(number, rounds, self._pace),
      schedule.of,
      self._ranking_scope(schedule),
    )
    return self._channels.masks(units)

  def apply_masks(self, new: list[np.ndarray]) -> None:
    """Writes masks into the model; warns of layers left with one channel.

    Args:
      new: an array of the kernel's shape for each entry of the kernels.
    """
    group_of, sizes = self._channels.group_of, len(self._channels.groups)
    before, after = (
      np.bincount(group_of, self._channels.kept_units(masks), minlength=sizes)
      for masks in (self.masks, new)
    )
    names = [
      f'{group.name} of {group.size}'
      for group, old, left in zip(
        self._channels.groups, before, after, strict=True
      )
      if left == 1 < old
    ]
    if names:
      warn_user(
        f'layers are down to their last channel: {"; ".join(names)}. A lower '
        "target_sparsity, scope='layer' or skip would keep more.",
      )
    self._write_masks(new)

  def _check_structure(self, schedule: IterativeSparsity) -> None:
    """Raises if there are several schedules."""
    if len(self._groups) > 1:
      raise ValueError(
        "layers with structure='channels' must share one schedule, but have "
        f'{len(self._groups)}: wrap the model in one call.'
      )

  def _check_of(self, schedule: IterativeSparsity) -> None:
    """Any `of` is possible."""

  def _check_target(self, schedule: IterativeSparsity) -> None:
    """Raises if the target would leave a layer without a channel."""
    highest = channel_selection.highest_share(self._channels, schedule.of)
    if schedule.target_sparsity > highest + _TOLERANCE:
      pinned = '; '.join(self._channels.pinned) or 'none'
      raise ValueError(
        f'target_sparsity={schedule.target_sparsity} of the {schedule.of} is '
        'too high: with one channel left in each layer it can be at most '
        f'{math.floor(highest * 1e6) / 1e6}. Layers that keep their width: '
        f'{pinned}.'
      )
