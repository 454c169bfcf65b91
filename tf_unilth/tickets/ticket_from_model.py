"""Reads a ticket from a model: masks, rewind weights and provenance."""

import collections
import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import format_value
from tf_unilth.engines.model_access import ModelAccess
from tf_unilth.schedules.fixed_mask import FixedMask
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.ticket_data import TicketData
from tf_unilth.wording import count


def read_ticket(
  access: ModelAccess,
  rewind_weights: Sequence[np.ndarray] | None,
  method: str | None,
  seed: int | None,
  provenance: Mapping[str, Any],
) -> TicketData:
  """Reads the contents of a ticket from a model.

  Args:
    access: the model.
    rewind_weights: the result of its `get_weights()` at the moment to begin
      from, `None` for masks only.
    method: the ticket's method; `None` to read it from the model.
    seed: the ticket's seed, at least 0, or `None`.
    provenance: facts to add to those read from the model.

  Raises:
    ValueError: the model has no weights or no zeros, or `rewind_weights` are
      not of this model.
  """
  state = access.state
  values = None
  if rewind_weights is not None:
    values = name_values(access, rewind_weights)
  return TicketData(
    read_masks(access),
    values,
    method or (state.algorithm or None if state is not None else None),
    seed,
    {**provenance_of_model(access), **provenance},
  )


def read_masks(access: ModelAccess) -> dict[str, np.ndarray]:
  """Returns a mask for each kernel of a model, by name.

  If none is prepared for pruning, a mask is True where the kernel is not zero.

  Args:
    access: the model.

  Raises:
    ValueError: the model has no kernels or no zeros, or a wrapped weight is
      not a kernel.
  """
  name, kernels = access.model.name, access.kernels
  known = dict(access.masks)
  is_wrapped = bool(known)
  if not kernels:
    raise ValueError(f'model {name!r} has no kernels; it must be built first.')
  masks = []
  for kernel in kernels:
    if not is_wrapped:
      masks.append(access.read(kernel) != 0)
    else:
      masks.append(known.pop(kernel.key, np.ones(kernel.shape, bool)))
  if known:
    names = [access.pruned[key].name for key in known]
    raise ValueError(
      f'model {name!r} has wrapped weights that tf_unilth does not know as '
      f'kernels: {names}.'
    )
  if all(mask.all() for mask in masks):
    raise ValueError(
      f'model {name!r} has no zeros: prune it first, by fit with a ticket '
      'callback.'
    )
  return dict(
    zip(_unique_names(kernel.name for kernel in kernels), masks, strict=True)
  )


def name_values(
  access: ModelAccess, values: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns rewind weights by name.

  Args:
    access: the model.
    values: the result of `get_weights()`, with or without the variables that
      tfmot's wrappers add.

  Raises:
    ValueError: the values are not weights of this model.
  """
  weights, model = access.weights, access.model
  if not isinstance(values, Sequence) or isinstance(values, str | bytes):
    raise ValueError(
      'rewind_weights must be what get_weights() returns, a list of arrays, '
      f'but is {format_value(values)}.'
    )
  values = access.without_masks(values)
  found: dict[str, np.ndarray] = {}
  names = _unique_names(weight.name for weight in weights)
  if len(values) != len(weights):
    raise ValueError(
      f'rewind_weights must be the {len(weights)} of model {model.name!r}, '
      f'as its get_weights() returns them, but are {len(values)}.'
    )
  for name, weight, value in zip(names, weights, values, strict=True):
    array = np.array(value, weight.dtype)
    ticket_file.check_array(name, array)
    if array.shape != weight.shape or not array.size:
      raise ValueError(
        f'rewind_weights must have the shapes of model {model.name!r}, but '
        f'for {name!r} of shape {weight.shape} the shape is {array.shape}.'
      )
    found[name] = array
  return found


def provenance_of_model(access: ModelAccess) -> dict[str, Any]:
  """Returns name, versions and the state of the run that pruned a model.

  Args:
    access: the model.

  Returns:
    Values that JSON can hold: `model` and `versions`; of a pruned model also
    `target_sparsities`, `rounds`, `epochs` and, after a rewind,
    `rewound_to_epoch`.
  """
  versions = dict(access.versions)
  # A checkout that is not installed has no version.
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    versions['tf_unilth'] = importlib.metadata.version('tf_unilth')
  provenance = {'model': access.model.name, 'versions': versions}
  kernels = access.pruned.values()
  schedules = [
    schedule
    for schedule in dict.fromkeys(kernel.schedule for kernel in kernels)
    if isinstance(schedule, IterativeSparsity)
    and not isinstance(schedule, FixedMask)
  ]
  state = access.state
  if schedules and state is not None:
    provenance['target_sparsities'] = [s.target_sparsity for s in schedules]
    provenance['rounds'] = state.round
    provenance['epochs'] = state.next_epoch
    if state.rewound_to_epoch >= 0:
      provenance['rewound_to_epoch'] = state.rewound_to_epoch
  return provenance


def check_arrays(argument: str, given: Any, content: str) -> None:
  """Checks a mapping from names to arrays.

  Args:
    argument: the name of the argument, for the message.
    given: its value.
    content: `'booleans'` for masks, `'values'` for weights.

  Raises:
    ValueError: it is empty or not such a mapping, or a file cannot hold one of
      its dtypes or names.
  """
  fits = isinstance(given, Mapping) and all(
    isinstance(key, str)
    and key
    and isinstance(array, np.ndarray)
    and array.size
    and (content != 'booleans' or array.dtype == bool)
    for key, array in given.items()
  )
  if not fits or not given:
    raise ValueError(
      f'{argument} must be arrays of {content} by name, but is '
      f'{format_value(given)}.'
    )
  for name, array in given.items():
    ticket_file.check_array(name, array)


def why_no_weights(
  ticket: TicketData, callback: TicketCallback | None = None
) -> str:
  """Returns why a ticket has no rewind weights, as far as it is known.

  Args:
    ticket: a ticket without rewind weights.
    callback: the ticket callback that was given to `Ticket.from_model`.
  """
  if callback and callback.settings.get('rewinds_weights') == 'False':
    return "an LTH(rewind='learning_rate') rewinds no weights"
  provenance, method = ticket.provenance, (ticket.method or '').casefold()
  if (epoch := provenance.get('rewound_to_epoch')) is not None:
    return (
      f'its run was rewound to the end of epoch {epoch}, but the callback that '
      'has those weights was not given to Ticket.from_model'
    )
  if method == 'lth':
    return (
      'only the callback of its fit has them, and an '
      "LTH(rewind='learning_rate') has none"
    )
  if method == 'dlth':
    return 'a DLTH rewinds nothing'
  if (epochs := provenance.get('epochs')) is not None:
    by = f' by {ticket.method}' if ticket.method else ''
    return f'its run{by} of {count(epochs, "epoch")} was never rewound'
  return 'none were given to Ticket.from_model'


def _unique_names(names: Iterable[str]) -> list[str]:
  """Makes names unique that nested models share: a, a#2."""
  seen: collections.Counter[str] = collections.Counter()
  found = []
  for name in names:
    seen[name] += 1
    found.append(f'{name}#{seen[name]}' if seen[name] > 1 else name)
  return found
