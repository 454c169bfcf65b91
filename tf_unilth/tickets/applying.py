"""Which weights of a model the entries of a ticket belong to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.tfmot import (
  keras_3_errors,
  model_layers,
  prunable_weights,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.layer_lookup import Selector, find_layers
from tf_unilth.engines.tfmot.model_wrapping import hold_zeros
from tf_unilth.engines.tfmot.pruned_model import PrunedKernel, PrunedLayers
from tf_unilth.tickets import model_matching, ticket_file
from tf_unilth.tickets.model_matching import WeightSpec
from tf_unilth.tickets.taking import why_no_weights


def apply_ticket(
  ticket: ticket_file.TicketData,
  model: keras.Model,
  weights: bool,
  skip: Selector | Sequence[Selector],
) -> keras.Model:
  """Puts a ticket onto a model, as `Ticket.apply` documents it."""
  keras_3_errors.check_keras(model, 'model', keras.Model)
  check_bool('weights', weights)
  given = ticket.rewind_weights if weights else {}
  if given is None:
    raise ValueError(
      f'ticket has no rewind weights to begin from: {why_no_weights(ticket)}. '
      "apply(model, weights=False) puts on the masks alone, with the model's "
      'own weights.'
    )
  skipped = find_layers(model, skip, 'skip', wrapped=True)
  left = {
    prunable_weights.unwrap_autocast(weight).ref()
    for layer in skipped
    for weight in layer.weights
  }
  masks = match_masks(model, left, ticket.masks)
  values = match_values(model, left, given) if weights else []
  if not model_layers.has_wrappers(model):
    model = hold_zeros(model, skipped)
  layers = PrunedLayers(model)
  kernels = [k for k in layers.kernels if k.weight.ref() not in left]
  check_structures(kernels, masks)
  for variable, value in values:
    variable.assign(value)
  for kernel in kernels:
    if isinstance(kernel.schedule, FixedMask):
      kernel.schedule.masks_given = True
  layers.assign_masks(
    [masks.get(k.weight.ref(), k.mask.numpy()) for k in layers.kernels]
  )
  return model


def _places(
  model: keras.Model,
  kind: str,
  mine: list[WeightSpec],
  theirs: list[WeightSpec],
  skipped: list[bool],
) -> list[int | None]:
  """Returns which of the ticket's lines fits each of a model's.

  Raises:
    ValueError: none does, with the first difference, or more than one.
  """
  wrong = f'ticket does not fit model {model.name!r}: '
  if not theirs:
    raise ValueError(
      f'{wrong}it has no {kind}s; build it, if it has no weights yet.'
    )
  ways = model_matching.places(mine, theirs, skipped)
  if not ways:
    # What is skipped differs from nothing.
    shown = [
      mine[number] if skips and number < len(mine) else line
      for number, (line, skips) in enumerate(zip(theirs, skipped, strict=True))
    ]
    raise ValueError(
      wrong
      + model_matching.difference(kind, mine, shown, 'the ticket', 'the model')
    )
  if len(ways) > 1:
    one, other = ways
    line, first, second = next(
      (line, mine[a], mine[b])
      for line, a, b in zip(theirs, one, other, strict=True)
      if a is not None and b is not None and a != b
    )
    raise ValueError(
      f'{wrong}without what skip names, its {kind} {line} may be the '
      f"ticket's {first.name!r} or {second.name!r}: skip fewer layers."
    )
  return ways[0]


def match_masks(
  model: keras.Model, left: set[Any], given: Mapping[str, np.ndarray]
) -> dict[Any, np.ndarray]:
  """Returns a mask for each kernel of a model, but for those `left`."""
  kernels = list(prunable_weights.model_kernels(model))
  theirs = [
    model_matching.kernel_spec(name, tuple(w.shape)) for name, w in kernels
  ]
  skipped = [weight.ref() in left for _, weight in kernels]
  if kernels and all(skipped):
    raise ValueError(
      f'skip names all layers of model {model.name!r} that have kernels: '
      'nothing of the ticket is left.'
    )
  places = _places(
    model, 'kernel', model_matching.of_masks(given), theirs, skipped
  )
  masks = list(given.values())
  return {
    weight.ref(): masks[place]
    for (_, weight), place in zip(kernels, places, strict=True)
    if place is not None
  }


def match_values(
  model: keras.Model, left: set[Any], given: Mapping[str, np.ndarray]
) -> list[tuple[Any, np.ndarray]]:
  """Returns the weights of a model, but for those `left`, with values."""
  variables = PrunedLayers(model).model_weights
  theirs = [
    model_matching.of_weight(_name(v), tuple(v.shape), v.dtype.name)
    for v in variables
  ]
  skipped = [
    prunable_weights.unwrap_autocast(v).ref() in left for v in variables
  ]
  places = _places(
    model, 'weight', model_matching.of_values(given), theirs, skipped
  )
  values = list(given.values())
  return [
    (variable, values[place])
    for variable, place in zip(variables, places, strict=True)
    if place is not None
  ]


def check_structures(
  kernels: Sequence[PrunedKernel], masks: Mapping[Any, np.ndarray]
) -> None:
  """Raises a `ValueError` if training would not keep all of the zeros."""
  held = {kernel.weight.ref() for kernel in kernels}
  for reference, mask in masks.items():
    if reference not in held and not mask.all():
      raise ValueError(
        f'ticket has zeros in {_name(reference.deref())!r}, which the model '
        'does not wrap: apply it to the model before it is wrapped.'
      )
  for kernel in kernels:
    units = kernel.structure
    if not units.is_whole(masks[kernel.weight.ref()]):
      raise ValueError(
        f'layer {kernel.name!r} is wrapped with {units.argument}, but the '
        f"ticket's mask cuts {units.unit_name}s of it in part: apply it to the "
        'model before it is wrapped, or to one that is wrapped like the one '
        'from which the ticket came.'
      )
    schedule = kernel.schedule
    if isinstance(schedule, FixedMask):
      continue
    if not isinstance(schedule, IterativeSparsity) or not (
      schedule.target_sparsity
    ):
      raise ValueError(
        f'layer {kernel.name!r} is wrapped with a {type(schedule).__name__} '
        "that would not hold the ticket's mask: apply it to what strip_pruning "
        'returns, or to the model before it is wrapped.'
      )


def _name(variable: Any) -> str:
  return variable.name.split(':')[0]
