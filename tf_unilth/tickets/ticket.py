"""Ticket: the masks of a model and the weights to train them from."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_int, check_json, check_str
from tf_unilth.engines import model_access
from tf_unilth.engines.layer_selection import Selector
from tf_unilth.tickets import ticket_file, ticket_from_model, ticket_onto_model
from tf_unilth.tickets.ticket_data import TicketData
from tf_unilth.user_warning import warn_user
from tf_unilth.wording import count


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ticket:
  """A lottery ticket: masks, and the weights to begin from, without a model.

  `from_model` takes a ticket from a model, `save` and `load` keep it in a file,
  and `apply` puts it onto a model of the same architecture, in any process and
  for any data. With its rewind weights the ticket trains as it was found. On
  a newly built model, `apply` with `weights=False` gives the re-initialised
  control.

  Args:
    masks: boolean masks by kernel name, True where a weight is kept; of all
      prunable kernels, dense ones too, in the model's order and shapes.
    rewind_weights: the values of all weights and statistics by name, in the
      model's order; `None` for a ticket with masks only.
    method: the name of the ticket callback that made it, `None` if unknown.
    seed: the seed of a random ticket, at least 0; `None` if there is none.
    provenance: further facts about the ticket, as JSON can hold them.

  Raises:
    ValueError: no mask has a zero, or a file cannot hold an argument.

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

  In another program:

  >>> fresh = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = Ticket.load(path).apply(fresh)  # Compile it, fit with UniLTH().
  >>> sparsity_summary(model).zeros
  20

  The ticket as mask and early weights, and the control by random
  re-initialisation, are from Frankle & Carbin (2019). The file format and the
  checks are our choice.
  """

  masks: Mapping[str, np.ndarray]
  rewind_weights: Mapping[str, np.ndarray] | None = None
  method: str | None = None
  seed: int | None = None
  provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    ticket_from_model.check_arrays('masks', self.masks, 'booleans')
    if self.rewind_weights is not None:
      ticket_from_model.check_arrays(
        'rewind_weights', self.rewind_weights, 'values'
      )
    check_str('method', self.method, none=True)
    # JSON cannot write NumPy's numbers.
    seed = check_int('seed', self.seed, 0, none=True)
    object.__setattr__(self, 'seed', seed)
    check_json('provenance', self.provenance)
    if not self.zeros:
      raise ValueError(
        'masks must have a zero, but have none: a dense model is not a ticket.'
      )

  @classmethod
  def from_model(
    cls,
    model: Any,
    callback: TicketCallback | None = None,
    *,
    rewind_weights: Sequence[np.ndarray] | None = None,
    method: str | None = None,
    seed: int | None = None,
    provenance: Mapping[str, Any] | None = None,
  ) -> 'Ticket':
    """Takes a ticket from a model.

    The masks are those of the model's wrappers. If it has none, a mask is True
    where the kernel is not zero.

    Args:
      model: a built Keras model.
      callback: the ticket callback of the `fit` that made the ticket. It gives
        its name, its seed and, if it rewound the weights (`LTH`; `UniLTH` and
        `UniDLTH` after a plateau), the rewind weights.
      rewind_weights: the result of the model's `get_weights()`, before or after
        wrapping, at the moment to begin from; replaces the callback's. A run
        without a rewind keeps none: call `get_weights` before `fit`. Without
        rewind weights the ticket has masks only, and a warning says so.
      method: a name that replaces the one of callback or model.
      seed: at least 0; replaces the callback's.
      provenance: facts to add to versions, targets and epochs, as JSON can hold
        them, such as `{'data': 'mnist'}`.

    Returns:
      The ticket, with copies of the arrays.

    Raises:
      TypeError: `model` is not a Keras model, or `callback` is not a ticket
        callback.
      ValueError: the model has no weights or no zeros, `rewind_weights` are not
        of this model, or the seed is negative.

    >>> layers = [keras.layers.Dense(2, input_shape=(2,), name='head')]
    >>> model = keras.Sequential(layers)
    >>> model.set_weights([np.eye(2), np.zeros(2)])
    >>> ticket = Ticket.from_model(model, method='by hand')
    >>> ticket.masks['head'].tolist(), ticket.method, ticket.sparsity
    ([[True, False], [False, True]], 'by hand', 0.5)
    """
    access = model_access.of_model(model)
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
    contents = ticket_from_model.read_ticket(
      access, rewind_weights, method, seed, provenance
    )
    ticket = cls(**vars(contents))
    if ticket.rewind_weights is None:
      why = ticket_from_model.why_no_weights(contents, callback)
      warn_user(
        f'the ticket of model {model.name!r} has masks only, no rewind weights '
        f'to begin from: {why}. Pass the get_weights() from before fit to '
        'from_model as rewind_weights, or apply the masks alone, with '
        'weights=False.',
      )
    return ticket

  @property
  def zeros(self) -> int:
    """The number of weights that the masks remove."""
    kept = sum(int(np.count_nonzero(mask)) for mask in self.masks.values())
    return self.total_weights - kept

  @property
  def total_weights(self) -> int:
    """The number of weights in all kernels."""
    return sum(mask.size for mask in self.masks.values())

  @property
  def sparsity(self) -> float:
    """The fraction of zeros over all kernels, in (0, 1]."""
    return self.zeros / self.total_weights

  def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes the ticket to one file, atomically.

    A mask takes one bit per weight; rewind weights take their own bytes. A
    SHA-256 detects corruption. Equal tickets give equal bytes.

    Args:
      path: the file to write; missing folders are created.
      overwrite: whether an existing `path` is replaced.

    Raises:
      FileExistsError: `path` exists and `overwrite` is not set.
      OSError: `path` cannot be written.

    >>> ticket = Ticket({'dense': np.eye(3, dtype=bool)}, method='by hand')
    >>> ticket
    <Ticket by hand: 66.667% of 9 weights in 1 kernel are zero; masks only; \
322 bytes>
    >>> path = tempfile.mkdtemp() + '/a.ticket'
    >>> ticket.save(path)
    >>> ticket.save(path, overwrite=True)
    """
    ticket_file.write(path, self._data, overwrite)

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'Ticket':
    """Reads a ticket from a file, and checks everything in it.

    Nothing in the file is executed, and the memory needed is at most a few
    times the file's size.

    Args:
      path: a file that `save` wrote.

    Returns:
      The ticket.

    Raises:
      TicketFileError: a `ValueError`; the file is not a ticket, or is
        incomplete or corrupted.
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
        f'path {os.fspath(path)!r} is not a ticket: {error}'
      ) from None

  def apply(
    self,
    model: Any,
    weights: bool = True,
    *,
    skip: Selector | Sequence[Selector] = (),
  ) -> Any:
    """Applies the ticket to a model, which then trains sparse.

    A model without wrappers is wrapped with `FixedMask` schedules. A wrapped
    model keeps its schedules, which prune further if their targets are higher.
    Layers that are dense in the ticket are wrapped too, with masks of ones; to
    leave them unwrapped, wrap the model beforehand with a `FixedMask` and
    `skip`. Compile the result; any ticket callback keeps the mask in `fit`.
    Call `apply` in the scope of the model's distribution strategy, if it has
    one.

    Kernels, and weights if they are assigned, are compared in the model's
    order: kernels by shape and the names of their layers, weights by shape,
    dtype and own name (`bias`). A trailing number of a name (`dense_3`) is
    ignored, because Keras numbers all layers that a process creates.

    With `skip` a ticket can be applied to a model with another head. The model
    is then compared without the skipped layers. The kernels and weights of the
    ticket at their place, between those that match, are left out too, whatever
    their names, shapes and number are.

    Args:
      model: a built Keras model; its weights are changed in place, unless
        the ticket does not fit.
      weights: whether to assign the rewind weights. `False` applies the masks
        alone and keeps the model's weights; on a newly built model this is the
        re-initialised control. A ticket without rewind weights needs `False`.
      skip: layers of the model, or their names, that stay as they are: dense,
        trainable, and not wrapped unless they were before; as in
        `prune_low_magnitude`.

    Returns:
      A wrapped model that shares its weights with `model`; `model` itself if
      it was wrapped.

    Raises:
      TypeError: `model` is not a Keras model.
      ValueError: the architecture differs (the message states the first
        difference); there are no rewind weights and `weights` is True; `skip`
        names layers that the model does not have, or all of its kernels; a
        subclassed model is not wrapped; the wrappers would not keep the mask,
        or the mask prunes some of their blocks or groups in part.

    >>> ticket = Ticket({'dense': np.eye(2, dtype=bool)})
    >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(2,))])
    >>> print(sparsity_summary(ticket.apply(model, weights=False)).zeros)
    2
    >>> other = [keras.layers.Dense(3, input_shape=(2,), name='dense_7')]
    >>> ticket.apply(keras.Sequential(other, name='other'), weights=False)
    Traceback (most recent call last):
    ValueError: ticket does not fit model 'other': its kernel 1 is 'dense' of \
shape (2, 2), the model's 'dense_7' of shape (2, 3).

    A model with a head for three classes instead of ten:

    >>> masks = {'body': np.eye(4, dtype=bool), 'head': np.eye(4, 10) > 0}
    >>> layers = [keras.layers.Dense(4, input_shape=(4,), name='body'),
    ...           keras.layers.Dense(3, name='classes')]
    >>> model = Ticket(masks).apply(keras.Sequential(layers), weights=False,
    ...                             skip=['classes'])
    >>> [layer.name for layer in model.layers]
    ['prune_low_magnitude_body', 'classes']
    """
    return ticket_onto_model.apply_ticket(
      self._data, model_access.of_model(model), weights, skip
    )

  @property
  def _data(self) -> TicketData:
    return TicketData(**vars(self))

  def __repr__(self) -> str:
    # Escaped, because a name in a file may contain terminal control codes.
    method = repr(self.method or 'of unknown method')[1:-1]
    seed = '' if self.seed is None else f' with seed {self.seed}'
    content = 'masks only' if self.rewind_weights is None else 'rewind weights'
    return (
      f'<Ticket {method}{seed}: {100 * self.sparsity:.3f}% of '
      f'{count(self.total_weights, "weight")} in '
      f'{count(len(self.masks), "kernel")} are zero; {content}; '
      f'{ticket_file.size(self._data):,} bytes>'
    )
