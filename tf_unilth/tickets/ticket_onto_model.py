"""Applies a ticket to a model: its masks and, if asked, its rewind weights."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.engine import Kernel
from tf_unilth.engines.layer_selection import Selector
from tf_unilth.engines.model_access import ModelAccess
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.tickets import model_matching
from tf_unilth.tickets.model_matching import WeightSpec
from tf_unilth.tickets.ticket_data import TicketData
from tf_unilth.tickets.ticket_from_model import why_no_weights


def apply_ticket(
  ticket: TicketData,
  access: ModelAccess,
  weights: bool,
  skip: Selector | Sequence[Selector],
) -> Any:
  """Implements `Ticket.apply`; its docstring describes arguments and errors.

  Args:
    ticket: the ticket to apply.
    access: a built model.
    weights: whether the rewind weights are assigned too.
    skip: layers, or names of layers, that stay as they are.

  Returns:
    The model that is prepared for training with the masks.
  """
  check_bool('weights', weights)
  rewind_weights = ticket.rewind_weights if weights else {}
  if rewind_weights is None:
    raise ValueError(
      f'ticket has no rewind weights to begin from: {why_no_weights(ticket)}. '
      'apply(model, weights=False) applies the masks alone and keeps the '
      "model's own weights."
    )
  skipped = access.find_layers(skip)
  left_out = access.keys_in(skipped)
  masks = match_masks(access, left_out, ticket.masks)
  values = match_values(access, left_out, rewind_weights) if weights else {}
  if not access.pruned:
    access = access.hold_zeros(skipped)
  kernels = {k: v for k, v in access.pruned.items() if k not in left_out}
  names = {kernel.key: kernel.name for kernel in access.kernels}
  check_wrappers(kernels, masks, names)
  access.check_masks(masks)
  for key, value in values.items():
    access.assign(key, value)
  for kernel in kernels.values():
    if isinstance(kernel.schedule, FixedMask):
      kernel.schedule.masks_given = True
  access.assign_masks(masks)
  return access.model


def match_masks(
  access: ModelAccess,
  left_out: set[Hashable],
  masks: Mapping[str, np.ndarray],
) -> dict[Hashable, np.ndarray]:
  """Returns the ticket's mask of each kernel that is not skipped, by key.

  Args:
    access: the model to apply the ticket to.
    left_out: the keys of the skipped layers' weights.
    masks: the ticket's masks by kernel name.

  Raises:
    ValueError: the masks do not fit the model, or all kernels are skipped.
  """
  kernels = access.kernels
  specs = [model_matching.kernel_spec(k.name, k.shape) for k in kernels]
  skipped = [kernel.key in left_out for kernel in kernels]
  if kernels and all(skipped):
    raise ValueError(
      f'skip names all layers of model {access.model.name!r} that have '
      'kernels: nothing of the ticket is left to apply.'
    )
  of_ticket = model_matching.of_masks(masks)
  indices = _match(access.model, 'kernel', of_ticket, specs, skipped)
  arrays = list(masks.values())
  return {
    kernel.key: arrays[index]
    for kernel, index in zip(kernels, indices, strict=True)
    if index is not None
  }


def match_values(
  access: ModelAccess,
  left_out: set[Hashable],
  values: Mapping[str, np.ndarray],
) -> dict[Hashable, np.ndarray]:
  """Returns the ticket's value of each weight that is not skipped, by key.

  Args:
    access: the model to apply the ticket to.
    left_out: the keys of the skipped layers' weights.
    values: the ticket's rewind weights by name.

  Raises:
    ValueError: the rewind weights do not fit the model.
  """
  weights = access.weights
  specs = [model_matching.of_weight(w.name, w.shape, w.dtype) for w in weights]
  skipped = [weight.key in left_out for weight in weights]
  of_ticket = model_matching.of_values(values)
  indices = _match(access.model, 'weight', of_ticket, specs, skipped)
  arrays = list(values.values())
  return {
    weight.key: arrays[index]
    for weight, index in zip(weights, indices, strict=True)
    if index is not None
  }


def _match(
  model: Any,
  kind: str,
  of_ticket: list[WeightSpec],
  of_model: list[WeightSpec],
  skipped: list[bool],
) -> list[int | None]:
  """Returns for each spec of the model the index of its match in the ticket.

  Raises:
    ValueError: there is no match, or more than one.
  """
  prefix = f'ticket does not fit model {model.name!r}: '
  if not of_model:
    raise ValueError(
      f'{prefix}it has no {kind}s; build it, if it has no weights yet.'
    )
  matches = model_matching.match_specs(of_ticket, of_model, skipped)
  if not matches:
    # A skipped spec must not be reported as the difference.
    compared = [
      of_ticket[number] if skips and number < len(of_ticket) else spec
      for number, (spec, skips) in enumerate(
        zip(of_model, skipped, strict=True)
      )
    ]
    raise ValueError(
      prefix
      + model_matching.difference(
        kind, of_ticket, compared, 'the ticket', 'the model'
      )
    )
  if len(matches) > 1:
    one, other = matches
    spec, first, second = next(
      (spec, of_ticket[a], of_ticket[b])
      for spec, a, b in zip(of_model, one, other, strict=True)
      if a is not None and b is not None and a != b
    )
    raise ValueError(
      f'{prefix}without the layers in skip, its {kind} {spec} can match the '
      f"ticket's {first.name!r} or {second.name!r}: skip fewer layers."
    )
  return matches[0]


def check_wrappers(
  kernels: Mapping[Hashable, Kernel],
  masks: Mapping[Hashable, np.ndarray],
  names: Mapping[Hashable, str],
) -> None:
  """Checks that training keeps all zeros of the masks.

  Args:
    kernels: by key, the kernels that are to be pruned and not skipped.
    masks: masks by key.
    names: the name of each kernel of the model, by key.

  Raises:
    ValueError: a kernel with zeros is not wrapped, a mask splits a block or
      group, or a schedule does not keep the mask.
  """
  for key, mask in masks.items():
    if key not in kernels and not mask.all():
      raise ValueError(
        f'ticket has zeros in {names[key]!r}, which the model does not wrap: '
        'apply the ticket before the model is wrapped.'
      )
  for key, kernel in kernels.items():
    units = kernel.structure
    if not units.is_whole(masks[key]):
      raise ValueError(
        f'layer {kernel.name!r} is wrapped with {units.argument}, but the '
        f"ticket's mask prunes some {units.unit_name}s in part: apply the "
        'ticket before the model is wrapped, or to a model that is wrapped '
        'like the one that the ticket was taken from.'
      )
    schedule = kernel.schedule
    if isinstance(schedule, FixedMask):
      continue
    if not isinstance(schedule, IterativeSparsity) or not (
      schedule.target_sparsity
    ):
      raise ValueError(
        f'layer {kernel.name!r} is wrapped with a {type(schedule).__name__} '
        "that would not keep the ticket's mask: apply the ticket to the model "
        'that strip_pruning returns, or before the model is wrapped.'
      )
