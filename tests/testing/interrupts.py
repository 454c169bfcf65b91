"""Callbacks that interrupt a run, for the tests of resuming."""

import tf_keras as keras


class At(keras.callbacks.Callback):
  """Does something at the end of one of all steps of a `fit`, from 1."""

  _supports_tf_logs = True

  def __init__(self, step, do):
    super().__init__()
    self._left, self._do = step, do

  def on_train_batch_end(self, batch, logs=None):
    self._left -= 1
    if not self._left:
      self._do()
