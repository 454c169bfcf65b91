"""KerasCallback: a callback that tf_keras and Keras 3 both accept."""

from collections.abc import Callable
from typing import Any


def _unused(hook: Callable[..., None]) -> Callable[..., None]:
  """Marks a hook that does nothing, as Keras 3 does: it need not wait."""
  hook._is_default = True  # type: ignore[attr-defined]
  return hook


class KerasCallback:
  """The hooks that the callback lists of both Kerases call; all do nothing.

  It derives from no Keras's class, so it can be created before it is known
  which Keras the model is of.
  """

  # Lets tf_keras pass batch logs as tensors, without waiting for their values.
  _supports_tf_logs = True

  def __init__(self):
    self.model: Any = None
    self.params: dict[str, Any] | None = None

  def set_params(self, params: dict[str, Any]) -> None:
    """Sets the parameters of the training.

    Args:
      params: `epochs`, `steps` and `verbose`.
    """
    self.params = params

  def set_model(self, model: Any) -> None:
    """Sets the model.

    Args:
      model: the model that the callback is used with.
    """
    self.model = model

  # tf_keras skips batch hooks that are not implemented.

  def _implements_train_batch_hooks(self) -> bool:
    return True

  def _implements_test_batch_hooks(self) -> bool:
    return False

  def _implements_predict_batch_hooks(self) -> bool:
    return False

  def on_train_begin(self, logs: Any = None) -> None:
    """Called when training begins."""

  def on_train_end(self, logs: Any = None) -> None:
    """Called when training ends."""

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Called when an epoch begins."""

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Called when an epoch ends."""

  @_unused
  def on_batch_begin(self, batch: int, logs: Any = None) -> None:
    """Called by own loops; an alias of `on_train_batch_begin` in Keras."""

  @_unused
  def on_batch_end(self, batch: int, logs: Any = None) -> None:
    """Called by own loops; an alias of `on_train_batch_end` in Keras."""

  @_unused
  def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
    """Called before a training batch."""

  @_unused
  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Called after a training batch."""

  @_unused
  def on_test_begin(self, logs: Any = None) -> None:
    """Called when evaluation begins."""

  @_unused
  def on_test_end(self, logs: Any = None) -> None:
    """Called when evaluation ends."""

  @_unused
  def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
    """Called before a batch of an evaluation."""

  @_unused
  def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
    """Called after a batch of an evaluation."""

  @_unused
  def on_predict_begin(self, logs: Any = None) -> None:
    """Called when prediction begins."""

  @_unused
  def on_predict_end(self, logs: Any = None) -> None:
    """Called when prediction ends."""

  @_unused
  def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
    """Called before a batch of a prediction."""

  @_unused
  def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
    """Called after a batch of a prediction."""


def epochs_and_steps(params: dict[str, Any] | None) -> tuple[int, int]:
  """Returns the epochs of a training loop, and its steps per epoch or 0.

  Args:
    params: the `params` of a callback; `None` if no `set_params` was called.

  Raises:
    ValueError: there is no `epochs`.
  """
  if not params or 'epochs' not in params:
    raise ValueError(
      'epochs of the training loop must be set before on_train_begin: use '
      'keras.callbacks.CallbackList([...], model=model, epochs=..., '
      'steps=...), or call set_params of the callback.'
    )
  return params['epochs'], params.get('steps') or 0
