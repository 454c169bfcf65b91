"""Runs that find a ticket, for the tests that take it and apply it."""

import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

EPOCHS = 6
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = (3, 2, 2.5, 2.2)


class Weights(keras.callbacks.Callback):
  """Keeps the weights that the model has at the start and after epochs."""

  def __init__(self):
    super().__init__()
    self.after = []

  def _keep(self):
    weights = PrunedLayers(self.model).model_weights
    self.after.append([weight.numpy() for weight in weights])

  def on_train_begin(self, logs=None):
    self._keep()

  def on_epoch_end(self, epoch, logs=None):
    self._keep()


def run(callback, make=toys.conv, wrap=tf_unilth.prune_low_magnitude, **skip):
  """Returns a trained wrapped model, and its weights epoch by epoch."""
  keras.utils.set_random_seed(1)
  model = wrap(make(), tf_unilth.IterativeSparsity(0.8, rounds=2), **skip)
  toys.compiled_for_labels(model)
  kept = Weights()
  toys.fit(model, toys.SetValLoss(*VAL_LOSS), kept, callback, epochs=EPOCHS)
  return model, kept.after
