"""TicketEarlyStopping: an EarlyStopping that waits for the target sparsity."""

from typing import Any

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


class TicketEarlyStopping(keras.callbacks.EarlyStopping):
  """Stops training as `EarlyStopping` does, but only at the target sparsity.

  Pruning worsens the monitored value, so an `EarlyStopping` may end `fit`
  before the target. This callback considers only epochs of stage 3, in which
  the mask is fixed: its patience begins there, and `restore_best_weights=True`
  restores the best epoch of stage 3. With nothing to prune (a target of 0, or a
  model that is not wrapped), it is an `EarlyStopping`. List it after the ticket
  callback.

  Args:
    *args: as in `keras.callbacks.EarlyStopping`.
    **kwargs: as in `keras.callbacks.EarlyStopping`.

  >>> stopping = TicketEarlyStopping(patience=3, restore_best_weights=True)
  """

  # Tells the checks of a ticket callback to accept it.
  waits_for_target = True

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._layers: Any = None  # Set in on_train_begin.

  def on_train_begin(self, logs: Any = None) -> None:
    """Finds the wrapped layers of the model."""
    self._layers = PrunedLayers(self.model)
    super().on_train_begin(logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Acts as `EarlyStopping` does if the target is reached."""
    if self._layers.are_at_target():
      super().on_epoch_end(epoch, logs)
