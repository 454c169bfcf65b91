"""Applies a ticket to a model: its masks and, if asked, its rewind weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.layer_selection import Selector
from tf_unilth.engines.tfmot import (
  keras_3_errors,
  model_layers,
  prunable_weights,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.layer_lookup import find_layers
from tf_unilth.engines.tfmot.model_wrapping import hold_zeros
from tf_unilth.engines.tfmot.pruned_model import PrunedKernel, PrunedLayers
from tf_unilth.tickets import model_matching
from tf_unilth.tickets.model_matching import WeightSpec, variable_name
from tf_unilth.tickets.ticket_data import TicketData
from tf_unilth.tickets.ticket_from_model import why_no_weights


def apply_ticket(
  ticket: TicketData,
  model: keras.Model,
  weights: bool,
  skip: Selector | Sequence[Selector],
) -> keras.Model:
  """Implements `Ticket.apply`; its docstring describes arguments and errors.

  Args:
    ticket: the ticket to apply.
    model: a built tf_keras model.
    weights: whether the rewind weights are assigned too.
    skip: layers, or names of layers, that stay as they are.

  Returns:
    The wrapped model.
  """
  keras_3_errors.check_keras(model, 'model', keras.Model)
  check_bool('weights', weights)
  rewind_weights = ticket.rewind_weights if weights else {}
  if rewind_weights is None:
    raise ValueError(
      f'ticket has no rewind weights to begin from: {why_no_weights(ticket)}. '
      'apply(model, weights=False) applies the masks alone and keeps the '
      "model's own weights."
    )
  skipped = find_layers(model, skip, 'skip', wrapped=True)
  skipped_refs = {
    prunable_weights.unwrap_autocast(weight).ref()
    for layer in skipped
    for weight in layer.weights
  }
  masks = match_masks(model, skipped_refs, ticket.masks)
  values = match_values(model, skipped_refs, rewind_weights) if weights else []
  if not model_layers.has_wrappers(model):
    model = hold_zeros(model, skipped)
  layers = PrunedLayers(model)
  kernels = [k for k in layers.kernels if k.weight.ref() not in skipped_refs]
  check_wrappers(kernels, masks)
  for variable, value in values:
    variable.assign(value)
  for kernel in kernels:
    if isinstance(kernel.schedule, FixedMask):
      kernel.schedule.masks_given = True
  layers.assign_masks(
    [masks.get(k.weight.ref(), k.mask.numpy()) for k in layers.kernels]
  )
  return model


def match_masks(
  model: keras.Model, skipped_refs: set[Any], masks: Mapping[str, np.ndarray]
) -> dict[Any, np.ndarray]:
  """Returns the ticket's mask of each kernel that is not skipped.

  Args:
    model: the model to apply the ticket to.
    skipped_refs: references of the skipped layers' variables.
    masks: the ticket's masks by kernel name.

  Returns:
    The masks by the reference of the kernel's variable.

  Raises:
    ValueError: the masks do not fit the model, or all kernels are skipped.
  """
  kernels = list(prunable_weights.model_kernels(model))
  specs = [
    model_matching.kernel_spec(name, tuple(w.shape)) for name, w in kernels
  ]
  skipped = [weight.ref() in skipped_refs for _, weight in kernels]
  if kernels and all(skipped):
    raise ValueError(
      f'skip names all layers of model {model.name!r} that have kernels: '
      'nothing of the ticket is left to apply.'
    )
  indices = _match(
    model, 'kernel', model_matching.of_masks(masks), specs, skipped
  )
  arrays = list(masks.values())
  return {
    weight.ref(): arrays[index]
    for (_, weight), index in zip(kernels, indices, strict=True)
    if index is not None
  }


def match_values(
  model: keras.Model, skipped_refs: set[Any], values: Mapping[str, np.ndarray]
) -> list[tuple[Any, np.ndarray]]:
  """Returns each weight that is not skipped with the ticket's value for it.

  Args:
    model: the model to apply the ticket to.
    skipped_refs: references of the skipped layers' variables.
    values: the ticket's rewind weights by name.

  Raises:
    ValueError: the rewind weights do not fit the model.
  """
  variables = PrunedLayers(model).model_weights
  specs = [
    model_matching.of_weight(variable_name(v), tuple(v.shape), v.dtype.name)
    for v in variables
  ]
  skipped = [
    prunable_weights.unwrap_autocast(v).ref() in skipped_refs for v in variables
  ]
  indices = _match(
    model, 'weight', model_matching.of_values(values), specs, skipped
  )
  arrays = list(values.values())
  return [
    (variable, arrays[index])
    for variable, index in zip(variables, indices, strict=True)
    if index is not None
  ]


def _match(
  model: keras.Model,
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
  kernels: Sequence[PrunedKernel], masks: Mapping[Any, np.ndarray]
) -> None:
  """Checks that training keeps all zeros of the masks.

  Args:
    kernels: the wrapped kernels that are not skipped.
    masks: masks by the reference of the kernel's variable.

  Raises:
    ValueError: a kernel with zeros is not wrapped, a mask splits a block or
      group, or a schedule does not keep the mask.
  """
  wrapped = {kernel.weight.ref() for kernel in kernels}
  for reference, mask in masks.items():
    if reference not in wrapped and not mask.all():
      raise ValueError(
        f'ticket has zeros in {variable_name(reference.deref())!r}, which the '
        'model does not wrap: apply the ticket before the model is wrapped.'
      )
  for kernel in kernels:
    units = kernel.structure
    if not units.is_whole(masks[kernel.weight.ref()]):
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
