"""Ticket: which weights a model keeps and what they begin from, as a file."""

import collections
import contextlib
import dataclasses
import importlib.metadata
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import (
  check_bool,
  check_int,
  check_json,
  check_str,
  format_value,
)
from tf_unilth.engines.tfmot import (
  keras_3_errors,
  model_layers,
  prunable_weights,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import keras, tfmot
from tf_unilth.engines.tfmot.layer_lookup import Selector, find_layers
from tf_unilth.engines.tfmot.prune_low_magnitude import hold_zeros
from tf_unilth.engines.tfmot.pruned_model import Kernel, PrunedLayers
from tf_unilth.run import continuation
from tf_unilth.tickets import model_matching, ticket_file
from tf_unilth.tickets.model_matching import Line
from tf_unilth.wording import count


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ticket(ticket_file.Contents):
  """A lottery ticket apart from its model: masks, and weights to begin from.

  Take it from a model with `from_model`, keep it with `save` and `load`, and
  put it onto a model of the same architecture with `apply`, in any process and
  for other data. With the weights that it was rewound to, it is trained as it
  was found; on a model that was built anew with `weights=False`, it is the
  re-initialised control.

  Args:
    masks: booleans of a kernel's shape by its name, True where a weight is
      kept, in the model's order; of all prunable kernels, dense ones too.
    rewind_weights: the values of all weights and statistics by name, in the
      model's order; `None` if the ticket has masks only.
    method: the name of the ticket callback that made it; `None`: not known.
    seed: what it was drawn from, at least 0; `None`: found, or not known.
    provenance: what else is known of it, as JSON can hold it.

  Raises:
    ValueError: no mask has a zero, or an argument is not what a file can hold.

  >>> model = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> initial = model.get_weights()
  >>> model = prune_low_magnitude(model, IterativeSparsity(0.5))
  >>> model.compile('sgd', 'mse')
  >>> callback = DLTH(seed=3, verbose=0)
  >>> _ = model.fit(np.ones((8, 4)), np.ones((8, 10)), epochs=3, batch_size=1,
  ...               verbose=0, callbacks=[callback])
  >>> ticket = Ticket.from_model(model, callback, rewind_weights=initial)
  >>> path = tempfile.mkdtemp() + '/dense.ticket'
  >>> ticket.save(path)

  And in another program:

  >>> fresh = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = Ticket.load(path).apply(fresh)  # Compile it, fit with UniLTH().
  >>> sparsity_summary(model).zeros
  20

  That a ticket is its mask and its early weights, and that a random
  re-initialisation is the control, is Frankle & Carbin's (2019). Format and
  checks are ours.
  """

  def __post_init__(self):
    _check_arrays('masks', self.masks, 'booleans')
    if self.rewind_weights is not None:
      _check_arrays('rewind_weights', self.rewind_weights, 'values')
    check_str('method', self.method, none=True)
    # A number of NumPy's could not be written.
    seed = check_int('seed', self.seed, 0, none=True)
    object.__setattr__(self, 'seed', seed)
    check_json('provenance', self.provenance)
    if not self.zeros:
      raise ValueError(
        'masks must have a zero, but have none: a dense model is no ticket.'
      )

  @classmethod
  def from_model(
    cls,
    model: keras.Model,
    callback: TicketCallback | None = None,
    *,
    rewind_weights: Sequence[np.ndarray] | None = None,
    method: str | None = None,
    seed: int | None = None,
    provenance: Mapping[str, Any] | None = None,
  ) -> 'Ticket':
    """Takes the ticket out of a model.

    Of a wrapped model the masks are the wrappers'; of one that was stripped,
    or never wrapped, they are where its kernels are not zero.

    Args:
      model: a tf_keras model, built.
      callback: the ticket callback of the `fit` that made it: gives its name,
        its seed, and, if it has rewound weights (`LTH`, `UniLTH`, `UniDLTH`
        after a plateau), what they were rewound to.
      rewind_weights: what `get_weights` of the model returned, wrapped or not
        yet, at the moment to begin from; goes before the callback's. A run
        that was not rewound keeps none: take them before `fit`. Without them
        the ticket has masks only, which a warning says.
      method: a name, in place of what callback or model tell.
      seed: at least 0, in place of the callback's.
      provenance: what to note besides versions, targets and epochs, as JSON
        can hold it, such as `{'data': 'mnist'}`.

    Returns:
      The ticket, with copies of what it took.

    Raises:
      TypeError: not a tf_keras model, not a ticket callback.
      ValueError: a model without weights or without zeros; `rewind_weights`
        that are not the model's; a negative seed.

    >>> layers = [keras.layers.Dense(2, input_shape=(2,), name='head')]
    >>> model = keras.Sequential(layers)
    >>> model.set_weights([np.eye(2), np.zeros(2)])
    >>> ticket = Ticket.from_model(model, method='by hand')
    >>> ticket.masks['head'].tolist(), ticket.method, ticket.sparsity
    ([[True, False], [False, True]], 'by hand', 0.5)
    """
    keras_3_errors.check_keras(model, 'model', keras.Model)
    if not isinstance(callback, TicketCallback | None):
      raise TypeError(
        'callback must be the ticket callback of a fit, such as a UniLTH, but '
        f'is a {type(callback).__name__}.'
      )
    seed = check_int('seed', seed, 0, none=True)
    method = check_str('method', method, none=True)
    provenance = check_json('provenance', provenance or {})
    if callback is not None:
      method = method or type(callback).__name__
      seed = callback.seed if seed is None else seed
      if rewind_weights is None:
        rewind_weights = callback.rewind_weights
    layers = PrunedLayers(model)
    ticket = cls(
      _masks(model, layers.kernels),
      None
      if rewind_weights is None
      else _named_values(model, layers, rewind_weights),
      method or _method(layers),
      seed,
      {**_circumstances(model, layers), **provenance},
    )
    if ticket.rewind_weights is None:
      warnings.warn(
        f'the ticket of model {model.name!r} has masks only, no rewind weights '
        f'to begin from: {_why_no_weights(ticket, callback)}. Take '
        'get_weights() before fit and give them to from_model as '
        'rewind_weights, or apply the masks alone, with weights=False.',
        stacklevel=2,
      )
    return ticket

  @property
  def zeros(self) -> int:
    """How many weights the masks remove."""
    kept = sum(int(np.count_nonzero(mask)) for mask in self.masks.values())
    return self.total_weights - kept

  @property
  def total_weights(self) -> int:
    """How many weights all the kernels have."""
    return sum(mask.size for mask in self.masks.values())

  @property
  def sparsity(self) -> float:
    """The fraction of zeros over all kernels, in (0, 1]."""
    return self.zeros / self.total_weights

  def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes the ticket as one file: whole or not at all.

    Masks take a bit per weight, rewind weights their own bytes; a SHA-256
    tells whether it is corrupted. The same ticket gives the same bytes.

    Args:
      path: the file to write; its folder is made.
      overwrite: whether an existing `path` is replaced.

    Raises:
      FileExistsError: `path` exists and `overwrite` is not set.
      OSError: `path` cannot be written.

    >>> ticket = Ticket({'dense': np.eye(3, dtype=bool)}, method='by hand')
    >>> ticket
    <Ticket by hand: 66.667% of 9 weights in 1 kernel are zero; masks only; \
162 bytes>
    >>> path = tempfile.mkdtemp() + '/a.ticket'
    >>> ticket.save(path)
    >>> ticket.save(path, overwrite=True)
    """
    ticket_file.write(path, self, overwrite)

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Ticket':
    """Reads a ticket; trusts nothing in the file.

    Nothing in it is run, and a file cannot make it take more memory than some
    times the file's own size.

    Args:
      path: a file that `save` wrote.

    Raises:
      TicketFileError: a `ValueError`; it is no ticket, or not all of one, or
        is corrupted.
      OSError: it cannot be read.

    >>> path = tempfile.mkdtemp() + '/a.ticket'
    >>> Ticket({'dense': np.eye(3, dtype=bool)}).save(path)
    >>> Ticket.load(path).zeros
    6
    """
    contents = ticket_file.read(path)
    try:
      return cls(**vars(contents))
    except ValueError as error:
      raise ticket_file.TicketFileError(
        f'path {os.fspath(path)!r} is no ticket: {error}'
      ) from None

  def apply(
    self,
    model: keras.Model,
    weights: bool = True,
    *,
    skip: Selector | Sequence[Selector] = (),
  ) -> keras.Model:
    """Puts the ticket onto a model, which then trains sparse.

    A model that is not wrapped is wrapped with a `FixedMask`; one that is
    keeps its schedules, which prune further if they ask for more. Layers that
    the ticket leaves dense are wrapped too, with open masks: to leave them as
    they are, wrap the model before, with a `FixedMask` and `skip`. Compile the
    result: any ticket callback holds the mask in `fit`. Call it in the scope
    of the model's distribution strategy, where there is one.

    Kernels, and weights where they are put back, are compared in the model's
    order: shapes exactly, kernels by the names of their layers too, weights by
    their dtypes and own names (`bias`). A number that ends a name (`dense_3`)
    is left out, since Keras counts all layers that a process makes.

    With `skip` a ticket goes onto a model with another head. What is compared
    then is the model without the skipped layers. The ticket's kernels and
    weights that stand in their place, between those that do fit, are skipped
    too, whatever their names, shapes and number are.

    Args:
      model: a tf_keras model, built; its own weights are changed, and nothing
        where the ticket does not fit.
      weights: whether to put the rewind weights into it. `False` puts on the
        masks alone and keeps the model's weights: of a model that was built
        anew, the re-initialised control. A ticket without rewind weights needs
        `weights=False`.
      skip: layers of the model, or their names, that stay as they are: dense,
        trainable, not wrapped unless they were; as `prune_low_magnitude` takes
        them.

    Returns:
      A wrapped model that shares the weights of the one given; that one
      itself, if it was wrapped.

    Raises:
      TypeError: not a tf_keras model.
      ValueError: another architecture, with the first difference; no rewind
        weights, and not `weights=False`; `skip` names what the model does not
        have, or all of its kernels; a subclassed model that is not wrapped;
        wrappers that would not hold the mask, or whose blocks or groups it
        cuts through.

    >>> ticket = Ticket({'dense': np.eye(2, dtype=bool)})
    >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(2,))])
    >>> print(sparsity_summary(ticket.apply(model, weights=False)).zeros)
    2
    >>> other = [keras.layers.Dense(3, input_shape=(2,), name='dense_7')]
    >>> ticket.apply(keras.Sequential(other, name='other'), weights=False)
    Traceback (most recent call last):
    ValueError: ticket does not fit model 'other': its kernel 1 is 'dense' of \
shape (2, 2), the model's 'dense_7' of shape (2, 3).

    Onto a model with a head for three classes in place of one for ten:

    >>> masks = {'body': np.eye(4, dtype=bool), 'head': np.eye(4, 10) > 0}
    >>> layers = [keras.layers.Dense(4, input_shape=(4,), name='body'),
    ...           keras.layers.Dense(3, name='classes')]
    >>> model = Ticket(masks).apply(keras.Sequential(layers), weights=False,
    ...                             skip=['classes'])
    >>> [layer.name for layer in model.layers]
    ['prune_low_magnitude_body', 'classes']
    """
    keras_3_errors.check_keras(model, 'model', keras.Model)
    check_bool('weights', weights)
    given = self.rewind_weights if weights else {}
    if given is None:
      raise ValueError(
        f'ticket has no rewind weights to begin from: {_why_no_weights(self)}. '
        "apply(model, weights=False) puts on the masks alone, with the model's "
        'own weights.'
      )
    skipped = find_layers(model, skip, 'skip', wrapped=True)
    left = {
      prunable_weights.uncast(weight).ref()
      for layer in skipped
      for weight in layer.weights
    }
    masks = _masks_of(model, left, self.masks)
    values = _values_of(model, left, given) if weights else []
    if not model_layers.has_wrappers(model):
      model = hold_zeros(model, skipped)
    layers = PrunedLayers(model)
    kernels = [k for k in layers.kernels if k.weight.ref() not in left]
    _check_holds(kernels, masks)
    for variable, value in values:
      variable.assign(value)
    for kernel in kernels:
      if isinstance(kernel.schedule, FixedMask):
        kernel.schedule.masks_given = True
    layers.assign_masks(
      [masks.get(k.weight.ref(), k.mask.numpy()) for k in layers.kernels]
    )
    return model

  def __repr__(self) -> str:
    # Escaped: what a file calls it may move a terminal's cursor.
    made = repr(self.method or 'of unknown method')[1:-1]
    seed = '' if self.seed is None else f' with seed {self.seed}'
    beside = 'masks only' if self.rewind_weights is None else 'rewind weights'
    return (
      f'<Ticket {made}{seed}: {100 * self.sparsity:.3f}% of '
      f'{count(self.total_weights, "weight")} in '
      f'{count(len(self.masks), "kernel")} are zero; {beside}; '
      f'{ticket_file.size(self):,} bytes>'
    )


def _check_arrays(argument: str, given: Any, what: str) -> None:
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


# Taking it from a model.


def _masks(
  model: keras.Model, wrapped: Sequence[Kernel]
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


def _named_values(
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


def _method(layers: PrunedLayers) -> str | None:
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


def _circumstances(model: keras.Model, layers: PrunedLayers) -> dict[str, Any]:
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


# Putting it onto one.


def _why_no_weights(
  ticket: Ticket, callback: TicketCallback | None = None
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


def _places(
  model: keras.Model,
  kind: str,
  mine: list[Line],
  theirs: list[Line],
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


def _masks_of(
  model: keras.Model, left: set[Any], given: Mapping[str, np.ndarray]
) -> dict[Any, np.ndarray]:
  """Returns a mask for each kernel of a model, but for those `left`."""
  kernels = list(prunable_weights.model_kernels(model))
  theirs = [
    model_matching.of_kernel(name, tuple(w.shape)) for name, w in kernels
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


def _values_of(
  model: keras.Model, left: set[Any], given: Mapping[str, np.ndarray]
) -> list[tuple[Any, np.ndarray]]:
  """Returns the weights of a model, but for those `left`, with values."""
  variables = PrunedLayers(model).model_weights
  theirs = [
    model_matching.of_weight(_name(v), tuple(v.shape), v.dtype.name)
    for v in variables
  ]
  skipped = [prunable_weights.uncast(v).ref() in left for v in variables]
  places = _places(
    model, 'weight', model_matching.of_values(given), theirs, skipped
  )
  values = list(given.values())
  return [
    (variable, values[place])
    for variable, place in zip(variables, places, strict=True)
    if place is not None
  ]


def _check_holds(
  kernels: Sequence[Kernel], masks: Mapping[Any, np.ndarray]
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
        f"ticket's mask cuts {units.noun}s of it in part: apply it to the "
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


# Names.


def _name(variable: Any) -> str:
  return variable.name.split(':')[0]


def _unique(names: Iterable[str]) -> list[str]:
  """Tells names apart that models inside of a model share: a, a#2."""
  seen: collections.Counter[str] = collections.Counter()
  found = []
  for name in names:
    seen[name] += 1
    found.append(f'{name}#{seen[name]}' if seen[name] > 1 else name)
  return found
