"""TicketEarlyStopping: an EarlyStopping that waits for the target sparsity."""

from typing import Any

from tf_unilth.algorithms.model_keras_callback import ModelKerasCallback
from tf_unilth.engines import pruning_api


class TicketEarlyStopping(ModelKerasCallback):
  """Stops training as `EarlyStopping` does, but only at the target sparsity.

  Pruning worsens the monitored value, so an `EarlyStopping` may end `fit`
  before the target. This callback considers only epochs of stage 3, in which
  the mask is fixed: its patience begins there, and `restore_best_weights=True`
  restores the best epoch of stage 3. With nothing to prune (a target of 0, or a
  model that was not passed to `prune_low_magnitude`), it is an `EarlyStopping`.
  List it after the ticket callback. It is an instance of the
  class of tf_keras, or in `fit` of a Keras 3 model of the class of Keras 3.

  Args:
    *args: as in `keras.callbacks.EarlyStopping`.
    **kwargs: as in `keras.callbacks.EarlyStopping`.

  >>> stopping = TicketEarlyStopping(patience=3, restore_best_weights=True)
  """

  keras_class = 'EarlyStopping'
  # Tells the checks of a ticket callback to accept it.
  waits_for_target = True

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._target: Any = None  # Set in on_train_begin.

  def on_train_begin(self, logs: Any = None) -> None:
    """Finds out what is to be pruned."""
    self._target = pruning_api.pruning_target(self.model)
    super().on_train_begin(logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Acts as `EarlyStopping` does if the target is reached."""
    if self._target is None or self._target.are_at_target():
      super().on_epoch_end(epoch, logs)
