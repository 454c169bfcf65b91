"""Ticket: which weights a model keeps and what they begin from, as a file."""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import (
  check_int,
  check_json,
  check_str,
)
from tf_unilth.engines.tfmot import (
  keras_3_errors,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.layer_lookup import Selector
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.tickets import ticket_file
from tf_unilth.tickets.applying import apply_ticket
from tf_unilth.tickets.taking import (
  check_arrays,
  method_of_run,
  name_values,
  provenance_of_model,
  read_masks,
  why_no_weights,
)
from tf_unilth.wording import count


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ticket(ticket_file.TicketData):
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
    check_arrays('masks', self.masks, 'booleans')
    if self.rewind_weights is not None:
      check_arrays('rewind_weights', self.rewind_weights, 'values')
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
      read_masks(model, layers.kernels),
      None
      if rewind_weights is None
      else name_values(model, layers, rewind_weights),
      method or method_of_run(layers),
      seed,
      {**provenance_of_model(model, layers), **provenance},
    )
    if ticket.rewind_weights is None:
      warnings.warn(
        f'the ticket of model {model.name!r} has masks only, no rewind weights '
        f'to begin from: {why_no_weights(ticket, callback)}. Take '
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
    return apply_ticket(self, model, weights, skip)

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


# Taking it from a model.


# Putting it onto one.


# Names.
