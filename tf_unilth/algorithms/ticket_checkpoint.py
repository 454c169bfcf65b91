"""TicketCheckpoint: a ModelCheckpoint that waits for the target sparsity."""

from typing import Any

from tf_unilth.algorithms.model_keras_callback import ModelKerasCallback
from tf_unilth.engines import pruning_api


class TicketCheckpoint(ModelKerasCallback):
  """Saves a model as `ModelCheckpoint` does, but only at its target sparsity.

  With `save_best_only=True`, a `ModelCheckpoint` keeps the best epoch of all,
  which may be a dense one. This callback considers only epochs of stage 3, so
  it keeps the best ticket. List it after the ticket callback.

  `CheckpointAndResume` also restores the best value so far. Keras's
  `BackupAndRestore` does not: a continued run may replace a better ticket,
  unless `initial_value_threshold` is given.

  Args:
    *args: as in `keras.callbacks.ModelCheckpoint`.
    **kwargs: as in `keras.callbacks.ModelCheckpoint`.

  Raises:
    ValueError: in `fit`, the model was not passed to `prune_low_magnitude`
      with an `IterativeSparsity`.

  >>> checkpoint = TicketCheckpoint('ticket.weights.h5', save_best_only=True,
  ...                               save_weights_only=True)
  """

  keras_class = 'ModelCheckpoint'
  # Tells the checks of a ticket callback to accept it.
  waits_for_target = True

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._target: Any = None  # Set in on_train_begin.

  def on_train_begin(self, logs: Any = None) -> None:
    """Finds out what is to be pruned."""
    self._target = pruning_api.pruning_target(self.model)
    self._target.check()
    super().on_train_begin(logs)

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Saves the model if `save_freq` is due and the target is reached."""
    if self.save_freq != 'epoch' and self._target.are_at_target():
      super().on_train_batch_end(batch, logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Saves the model as `ModelCheckpoint` does if the target is reached."""
    if self._target.are_at_target():
      super().on_epoch_end(epoch, logs)
