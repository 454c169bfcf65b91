"""Reads a ticket from a model: masks, rewind weights and provenance."""

import collections
import contextlib
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras, tfmot
from tf_unilth.engines.tfmot.pruned_model import PrunedKernel, PrunedLayers
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.model_matching import variable_name
from tf_unilth.tickets.ticket_data import TicketData
from tf_unilth.wording import count


def read_ticket(
  model: keras.Model,
  rewind_weights: Sequence[np.ndarray] | None,
  method: str | None,
  seed: int | None,
  provenance: Mapping[str, Any],
) -> TicketData:
  """Reads the contents of a ticket from a model.

  Args:
    model: a built tf_keras model.
    rewind_weights: the result of its `get_weights()` at the moment to begin
      from, `None` for masks only.
    method: the ticket's method; `None` to read it from the model.
    seed: the ticket's seed, at least 0, or `None`.
    provenance: facts to add to those read from the model.

  Raises:
    ValueError: the model has no weights or no zeros, or `rewind_weights` are
      not of this model.
  """
  layers = PrunedLayers(model)
  return TicketData(
    read_masks(model, layers.kernels),
    None
    if rewind_weights is None
    else name_values(model, layers, rewind_weights),
    method or method_of_run(layers),
    seed,
    {**provenance_of_model(model, layers), **provenance},
  )


def read_masks(
  model: keras.Model, wrapped: Sequence[PrunedKernel]
) -> dict[str, np.ndarray]:
  """Returns a mask for each kernel of a model, by name.

  Args:
    model: a built tf_keras model.
    wrapped: its wrapped kernels, whose masks are read. If there are none, a
      mask is True where the kernel is not zero.

  Raises:
    ValueError: the model has no kernels or no zeros, or a wrapped weight is
      not a kernel.
  """
  wrapper_masks = {kernel.weight.ref(): kernel.mask for kernel in wrapped}
  kernels = list(prunable_weights.model_kernels(model))
  if not kernels:
    raise ValueError(
      f'model {model.name!r} has no kernels; build it, if it has no weights '
      'yet.'
    )
  masks = []
  for _, weight in kernels:
    if not wrapped:
      masks.append(weight.numpy() != 0)
    elif weight.ref() in wrapper_masks:
      masks.append(wrapper_masks.pop(weight.ref()).numpy().astype(bool))
    else:
      masks.append(np.ones(weight.shape, bool))
  if wrapper_masks:
    names = [k.name for k in wrapped if k.weight.ref() in wrapper_masks]
    raise ValueError(
      f'model {model.name!r} has wrapped weights that tf_unilth does not know '
      f'as kernels: {names}.'
    )
  if all(mask.all() for mask in masks):
    raise ValueError(
      f'model {model.name!r} has no zeros: prune it first, by fit with a '
      'ticket callback.'
    )
  return dict(
    zip(_unique_names(name for name, _ in kernels), masks, strict=True)
  )


def name_values(
  model: keras.Model, layers: PrunedLayers, values: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns rewind weights by name.

  Args:
    model: a built tf_keras model.
    layers: its layers.
    values: the result of `get_weights()`, with or without the variables that
      tfmot's wrappers add.

  Raises:
    ValueError: the values are not weights of this model.
  """
  variables = layers.model_weights
  if not isinstance(values, Sequence) or isinstance(values, str | bytes):
    raise ValueError(
      'rewind_weights must be what get_weights() returns, a list of arrays, '
      f'but is {format_value(values)}.'
    )
  if len(values) == len(model.weights):
    references = {variable.ref() for variable in variables}
    pairs = zip(model.weights, values, strict=True)
    values = [value for weight, value in pairs if weight.ref() in references]
  found: dict[str, np.ndarray] = {}
  names = _unique_names(variable_name(variable) for variable in variables)
  if len(values) != len(variables):
    raise ValueError(
      f'rewind_weights must be the {len(variables)} of model {model.name!r}, '
      f'as its get_weights() returns them, but are {len(values)}.'
    )
  for name, variable, value in zip(names, variables, values, strict=True):
    array = np.array(value, variable.dtype.as_numpy_dtype)
    ticket_file.check_array(name, array)
    if array.shape != tuple(variable.shape) or not array.size:
      raise ValueError(
        f'rewind_weights must have the shapes of model {model.name!r}, but '
        f'for {name!r} of shape {tuple(variable.shape)} the shape is '
        f'{array.shape}.'
      )
    found[name] = array
  return found


def method_of_run(layers: PrunedLayers) -> str | None:
  """Returns the name of the ticket callback that pruned a model, if known.

  Args:
    layers: the model's layers; its schedules keep the state of the run.
  """
  for schedule in layers.schedules:
    if isinstance(schedule, IterativeSparsity) and schedule.run.state.algorithm:
      return schedule.run.state.algorithm
  return None


def provenance_of_model(
  model: keras.Model, layers: PrunedLayers
) -> dict[str, Any]:
  """Returns name, versions and the state of the run that pruned a model.

  Args:
    model: a built tf_keras model.
    layers: its layers.

  Returns:
    Values that JSON can hold: `model` and `versions`; of a pruned model also
    `target_sparsities`, `rounds`, `epochs` and, after a rewind,
    `rewound_to_epoch`.
  """
  provenance: dict[str, Any] = {'model': model.name, 'versions': _versions()}
  schedules = [
    schedule
    for schedule in layers.schedules
    if isinstance(schedule, IterativeSparsity)
    and not isinstance(schedule, FixedMask)
  ]
  if schedules:
    state = schedules[0].run.state
    provenance['target_sparsities'] = [s.target_sparsity for s in schedules]
    provenance['rounds'] = state.round
    provenance['epochs'] = state.next_epoch
    if state.rewound_to_epoch >= 0:
      provenance['rewound_to_epoch'] = state.rewound_to_epoch
  return provenance


def _versions() -> dict[str, str]:
  versions = {
    'tensorflow': tf.__version__,
    'tf_keras': keras.__version__,
    'tensorflow_model_optimization': tfmot.__version__,
  }
  # A checkout that is not installed has no version.
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    versions['tf_unilth'] = importlib.metadata.version('tf_unilth')
  return versions


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
