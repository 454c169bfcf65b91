"""TicketEarlyStopping: Keras's EarlyStopping that waits for the target."""

from typing import Any

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


class TicketEarlyStopping(keras.callbacks.EarlyStopping):
  """Stops training as `EarlyStopping` does, but only at the target sparsity.

  Cuts worsen what Keras's own monitors, so that it would end `fit` before the
  target. This one looks only at epochs of stage 3, in which the mask is fixed:
  its patience begins there, and `restore_best_weights=True` restores the best
  epoch of stage 3. Without anything to prune (a target of 0, or a model that
  is not wrapped) it is Keras's. List it after the ticket callback.

  Args:
    *args: as of `keras.callbacks.EarlyStopping`.
    **kwargs: as of `keras.callbacks.EarlyStopping`.

  >>> stopping = TicketEarlyStopping(patience=3, restore_best_weights=True)
  """

  waits_for_target = True

  def on_train_begin(self, logs: Any = None) -> None:
    self._layers = PrunedLayers(self.model)
    super().on_train_begin(logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if self._layers.are_at_target():
      super().on_epoch_end(epoch, logs)
