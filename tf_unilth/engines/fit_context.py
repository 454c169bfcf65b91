"""FitContext: what a callback needs to know of the `fit` around it."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class FitContext:
  """The running `fit`; one with the defaults stands for a custom loop.

  Keras tells a callback neither the other callbacks nor whether there are
  validation data. An engine finds them out once, when `fit` begins.

  Args:
    is_fit: whether Keras's `fit` runs, not a custom loop that calls the hooks.
    callbacks: all callbacks of the `fit`, in order.
    callback_list: Keras's `CallbackList`, which calls them.
    has_validation: whether there are validation data, as far as is known.
    validation_freq: Keras's argument: a number of epochs, or the epochs.
    data_handler: Keras's object that reads the training data; for Keras 3 a
      weak reference to it.
    initial_epoch: Keras's argument.
    validation_inputs: the inputs of the validation data.
    validation_parts: inputs, targets and sample weights of validation arrays.
    batch_size: Keras's argument.
    shuffle: Keras's argument.
    class_weight: Keras's argument.
  """

  is_fit: bool = False
  callbacks: tuple[Any, ...] = ()
  callback_list: Any = None
  has_validation: bool = True
  validation_freq: Any = 1
  data_handler: Any = None
  initial_epoch: int = 0
  validation_inputs: Any = None
  validation_parts: tuple[Any, ...] = ()
  batch_size: int | None = None
  shuffle: Any = None
  class_weight: Any = None
