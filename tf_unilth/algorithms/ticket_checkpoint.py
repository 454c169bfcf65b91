"""TicketCheckpoint: Keras's ModelCheckpoint for epochs at the target."""

from typing import Any

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


class TicketCheckpoint(keras.callbacks.ModelCheckpoint):
  """Saves a model as `ModelCheckpoint` does, but only at its target sparsity.

  With `save_best_only=True` Keras's own would keep the best epoch of all,
  which may well be a dense one. This one looks only at epochs of stage 3, so
  it keeps the best ticket. List it after the ticket callback.

  Args:
    *args: as of `keras.callbacks.ModelCheckpoint`.
    **kwargs: as of `keras.callbacks.ModelCheckpoint`.

  >>> checkpoint = TicketCheckpoint('ticket.weights.h5', save_best_only=True,
  ...                               save_weights_only=True)
  """

  waits_for_target = True

  def on_train_begin(self, logs: Any = None) -> None:
    self._layers = PrunedLayers(self.model)
    self._layers.check()
    super().on_train_begin(logs)

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    if self.save_freq != 'epoch' and self._layers.are_at_target():
      super().on_train_batch_end(batch, logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if self._layers.are_at_target():
      super().on_epoch_end(epoch, logs)
