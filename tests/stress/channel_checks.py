"""What must be true of a model that is pruned by whole channels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tf_keras as keras

import tf_unilth
from tests.stress.model_checks import Wrong, bare, base_name, pruned
from tests.testing import random_layers
from tf_unilth.engines.tfmot import channel_plan
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

_LOGS = {'weights': 'sparsity', 'flops': 'flops_sparsity'}
_ROUNDING = 1e-9


def check_target(
  model: keras.Model,
  schedule: Mapping[str, Any],
  history: keras.callbacks.History | None = None,
) -> None:
  """Raises unless whole units are gone, and the fewest that reach the target.

  Args:
    model: a wrapped model that was trained.
    schedule: the arguments of its `IterativeSparsity`.
    history: of its `fit`, whose logs say what is gone.
  """
  target, of = schedule['target_sparsity'], schedule.get('of', 'weights')
  _check_zeros(model)
  layers = PrunedLayers(model)
  channels = channel_plan.find_channels(model, layers.kernels)
  if channels is None:
    raise Wrong("structure='channels' is lost.")
  masks = layers.read_masks()
  units = channels.kept_units(masks)
  for kernel, mask, whole in zip(
    layers.kernels, masks, channels.masks(units), strict=True
  ):
    if not np.array_equal(mask, whole):
      raise Wrong(f'{kernel.name} has masks of parts of units.')
  for group in range(len(channels.groups)):
    if not units[channels.group_of == group].any():
      raise Wrong(f'{channels.groups[group].name} has no unit left.')
  if channels.removed(of, units) < target - _ROUNDING:
    raise Wrong(f'{channels.removed(of, units)} of the {of}, not {target}.')
  gone = np.flatnonzero(~units)
  if gone.size and all(_reaches(channels, units, u, of, target) for u in gone):
    raise Wrong(f'{gone.size} units are gone for {target}, more than needed.')
  if history:
    _check_logs(model, of, target, history)


def _reaches(
  channels: Any, units: np.ndarray, unit: int, of: str, target: float
) -> bool:
  """Returns whether the target is met without the removal of a unit."""
  more = units.copy()
  more[unit] = True
  return channels.removed(of, more) >= target - _ROUNDING


def _check_zeros(model: keras.Model) -> None:
  """Raises unless all that the masks remove is zero."""
  for weight, mask, _ in pruned(model):
    if bare(weight).numpy()[bare(mask).numpy() == 0].any():
      raise Wrong(f'{weight.name} has removed weights that are not 0.')


def _kept_share(model: keras.Model) -> float:
  """Returns the share of the kernels' elements that the masks keep."""
  masks = [
    bare(mask).numpy() != 0
    for weight, mask, _ in pruned(model)
    if base_name(weight) in random_layers.KERNELS
  ]
  kept = sum(int(mask.sum()) for mask in masks)
  return kept / sum(mask.size for mask in masks)


def _check_logs(
  model: keras.Model, of: str, target: float, history: keras.callbacks.History
) -> None:
  """Raises unless the logs of the last epoch say what is gone."""
  logs = {name: values[-1] for name, values in history.history.items()}
  found = {'sparsity': 1 - _kept_share(model)}
  summary = tf_unilth.sparsity_summary(model).channels
  if summary.flops is not None:
    found['flops_sparsity'] = summary.flops_sparsity
  for name, share in found.items():
    if abs(logs[name] - share) > 1e-6:
      raise Wrong(f'the logs say {name}={logs[name]}, it is {share}.')
  if logs[_LOGS[of]] < target - _ROUNDING:
    raise Wrong(f'the logs say {logs[_LOGS[of]]} of the {of}.')


def check_shrunk(
  model: keras.Model, ticket: keras.Model, is_whole: bool
) -> keras.Model:
  """Raises unless `shrink` removes what the masks remove, or more.

  Args:
    model: the wrapped model.
    ticket: what `strip_pruning` made of it.
    is_whole: whether all layers with kernels are wrapped. One that is not may
      read a removed channel, which then stays if it is a constant.

  Returns:
    The smaller model.
  """
  small = tf_unilth.shrink(ticket)
  if not is_whole:
    return small
  kept = _kept_share(model) * tf_unilth.sparsity_summary(ticket).total_weights
  left = tf_unilth.sparsity_summary(small).total_weights
  if left > round(kept):
    raise Wrong(f'shrink leaves {left} weights in kernels, more than {kept}.')
  channels = tf_unilth.sparsity_summary(model).channels
  flops = tf_unilth.shrink_report(small).flops
  known = None not in (flops, channels.flops)
  if known and flops > channels.flops - channels.flops_removed:
    raise Wrong(f'shrink leaves {flops} FLOPs: {channels}')
  return small
