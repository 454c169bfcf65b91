"""What a ticket takes from a model: masks, rewind weights, provenance."""

import collections
import contextlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from tf_unilth.run import continuation
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.applying import _name
from tf_unilth.wording import count


def read_masks(
  model: keras.Model, wrapped: Sequence[PrunedKernel]
) -> dict[str, np.ndarray]:
  held = {kernel.weight.ref(): kernel.mask for kernel in wrapped}
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
    elif weight.ref() in held:
      masks.append(held.pop(weight.ref()).numpy().astype(bool))
    else:
      masks.append(np.ones(weight.shape, bool))
  if held:
    names = [k.name for k in wrapped if k.weight.ref() in held]
    raise ValueError(
      f'model {model.name!r} has wrapped weights that are no kernels to '
      f'tf_unilth: {names}.'
    )
  if all(mask.all() for mask in masks):
    raise ValueError(
      f'model {model.name!r} has no zeros: prune it first, with fit and a '
      'ticket callback.'
    )
  return dict(zip(_unique(name for name, _ in kernels), masks, strict=True))


def name_values(
  model: keras.Model, layers: PrunedLayers, values: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns weights by name, of those with or without tfmot's own."""
  variables = layers.model_weights
  if not isinstance(values, Sequence) or isinstance(values, str | bytes):
    raise ValueError(
      'rewind_weights must be what get_weights() returns, but is '
      f'{format_value(values)}.'
    )
  if len(values) == len(model.weights):
    own = {variable.ref() for variable in variables}
    pairs = zip(model.weights, values, strict=True)
    values = [value for weight, value in pairs if weight.ref() in own]
  found: dict[str, np.ndarray] = {}
  names = _unique(_name(variable) for variable in variables)
  if len(values) != len(variables):
    raise ValueError(
      f'rewind_weights must be the {len(variables)} of model {model.name!r}, '
      f'from its get_weights(), but are {len(values)}.'
    )
  for name, variable, value in zip(names, variables, values, strict=True):
    array = np.array(value, variable.dtype.as_numpy_dtype)
    ticket_file.check_dtype(name, array)
    if array.shape != tuple(variable.shape) or not array.size:
      raise ValueError(
        f'rewind_weights must be of the shapes of model {model.name!r}, but '
        f'for {name!r} of shape {tuple(variable.shape)} there is one of '
        f'{array.shape}.'
      )
    found[name] = array
  return found


def method_of_run(layers: PrunedLayers) -> str | None:
  """Returns which algorithm the model's run was of, if there was one."""
  for schedule in layers.schedules:
    if isinstance(schedule, IterativeSparsity):
      algorithm = schedule.state.get('algorithm')
      for name in _algorithms(TicketCallback):
        if continuation.fingerprint(name) == algorithm:
          return name
  return None


def _algorithms(kind: type[Any]) -> Iterator[str]:
  for subclass in kind.__subclasses__():
    yield subclass.__name__
    yield from _algorithms(subclass)


def provenance_of_model(
  model: keras.Model, layers: PrunedLayers
) -> dict[str, Any]:
  """Returns what a model tells of how it came about."""
  told: dict[str, Any] = {'model': model.name, 'versions': _versions()}
  schedules = [
    schedule
    for schedule in layers.schedules
    if isinstance(schedule, IterativeSparsity)
    and not isinstance(schedule, FixedMask)
  ]
  if schedules:
    state = schedules[0].state
    told['target_sparsities'] = [s.target_sparsity for s in schedules]
    told['rounds'] = state.get('round')
    told['epochs'] = state.get('next_epoch')
    if state.get('rewound_to_epoch') >= 0:
      told['rewound_to_epoch'] = state.get('rewound_to_epoch')
  return told


def _versions() -> dict[str, str]:
  versions = {
    'tensorflow': tf.__version__,
    'tf_keras': keras.__version__,
    'tensorflow_model_optimization': tfmot.__version__,
  }
  # It has none where it is run from a checkout.
  with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    versions['tf_unilth'] = importlib.metadata.version('tf_unilth')
  return versions


def check_arrays(argument: str, given: Any, what: str) -> None:
  """Raises unless it is arrays by name, of booleans or of what a file holds."""
  fits = isinstance(given, Mapping) and all(
    isinstance(key, str)
    and key
    and isinstance(array, np.ndarray)
    and array.size
    and (what != 'booleans' or array.dtype == bool)
    for key, array in given.items()
  )
  if not fits or not given:
    raise ValueError(
      f'{argument} must be arrays of {what} by name, but is '
      f'{format_value(given)}.'
    )
  for name, array in given.items():
    ticket_file.check_dtype(name, array)


def why_no_weights(
  ticket: ticket_file.TicketData, callback: TicketCallback | None = None
) -> str:
  """Returns why a ticket has no rewind weights, as far as it tells."""
  if callback and callback.settings.get('rewinds_weights') == 'False':
    return "an LTH(rewind='learning_rate') rewinds no weights"
  told, method = ticket.provenance, (ticket.method or '').casefold()
  if (epoch := told.get('rewound_to_epoch')) is not None:
    return (
      f'its run was rewound to the end of epoch {epoch}, but the callback that '
      'has those weights was not given to Ticket.from_model'
    )
  if method == 'lth':
    return (
      "only the callback of its fit has them, and an LTH(rewind='learning_rate'"
      ') has none'
    )
  if method == 'dlth':
    return 'a DLTH rewinds nothing'
  if (epochs := told.get('epochs')) is not None:
    by = f' by {ticket.method}' if ticket.method else ''
    return f'its run{by} of {count(epochs, "epoch")} was never rewound'
  return 'none were given to Ticket.from_model'


def _unique(names: Iterable[str]) -> list[str]:
  """Tells names apart that models inside of a model share: a, a#2."""
  seen: collections.Counter[str] = collections.Counter()
  found = []
  for name in names:
    seen[name] += 1
    found.append(f'{name}#{seen[name]}' if seen[name] > 1 else name)
  return found
