"""Checks of the arguments that go with `structure='channels'`."""

from typing import Any

from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras


def check_channels(to_prune: Any, schedule: Any, targets: Any) -> None:
  """Raises a `ValueError` if whole channels cannot be pruned.

  Args:
    to_prune: as in `prune_low_magnitude`, as the others.
    schedule: the pruning schedule.
    targets: the schedules of single layers.
  """
  needs = "structure='channels' needs"
  if not isinstance(to_prune, keras.Model) or not model_layers.is_network(
    to_prune
  ):
    raise ValueError(
      f'{needs} a Sequential or functional model, on whose graph it finds '
      f'coupled layers, but to_prune is a {type(to_prune).__name__}.'
    )
  if not to_prune.built or not to_prune.inputs:
    raise ValueError(
      f'{needs} a built model, but {to_prune.name!r} has no weights yet: give '
      'it an input shape.'
    )
  if model_layers.has_wrappers(to_prune):
    raise ValueError(
      f'{needs} a model without wrapped layers, but {to_prune.name!r} has '
      'some: call strip_pruning first.'
    )
  if targets:
    raise ValueError(
      f'{needs} one target for the model, since layers are coupled, but '
      'targets is given: use skip to leave layers dense.'
    )
  _check_schedule(schedule, needs)


def _check_schedule(schedule: Any, needs: str) -> None:
  if not isinstance(schedule, IterativeSparsity) or isinstance(
    schedule, FixedMask
  ):
    raise ValueError(
      f'{needs} an IterativeSparsity as pruning_schedule, but it is a '
      f'{type(schedule).__name__}. (A FixedMask without structure keeps the '
      'zeros of removed channels.)'
    )
  if schedule.begin_step is not None:
    raise ValueError(
      f'{needs} a ticket callback, but begin_step of the schedule is '
      f"{schedule.begin_step}, with which tfmot's UpdatePruningStep would "
      'prune single weights: leave it None.'
    )


def check_of(schedule: Any) -> None:
  """Raises if the target of single weights or blocks is a share of FLOPs.

  Args:
    schedule: the pruning schedule.

  Raises:
    ValueError: it is.
  """
  if getattr(schedule, 'of', None) == 'flops':
    raise ValueError(
      "of='flops' of pruning_schedule needs structure='channels': single zeros "
      'and blocks of them save no FLOPs.'
    )
