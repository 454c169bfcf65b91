"""Whether a tf_keras model has reached its target sparsity."""

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


def pruning_target(model: keras.Model) -> PrunedLayers:
  """Returns the wrapped layers of a model, which know it.

  Args:
    model: a tf_keras model; one without wrapped layers is at its target.
  """
  return PrunedLayers(model)
