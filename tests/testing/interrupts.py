"""Callbacks that interrupt a run, for the tests of resuming."""

from tf_unilth.algorithms.keras_callback import KerasCallback


class At(KerasCallback):
  """Does something at the end of one of all steps of a `fit`, from 1.

  For both Kerases.
  """

  def __init__(self, step, do):
    super().__init__()
    self._left, self._do = step, do

  def on_train_batch_end(self, batch, logs=None):
    self._left -= 1
    if not self._left:
      self._do()
