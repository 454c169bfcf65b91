"""prune_low_magnitude: tfmot's, with an error that helps for Keras 3."""

from typing import Any

from tf_unilth import compat
from tf_unilth.compat import PruningSchedule, keras, tfmot


def prune_low_magnitude(
  to_prune: Any, pruning_schedule: PruningSchedule, **kwargs: Any
) -> Any:
  """Wraps a model, a layer or a list of layers with tfmot for pruning.

  Args:
    to_prune: a tf_keras model, layer, or list of layers.
    pruning_schedule: an `IterativeSparsity`, or any tfmot schedule.
    **kwargs: as of `tfmot.sparsity.keras.prune_low_magnitude`.

  Returns:
    What tfmot's `prune_low_magnitude` returns.

  Raises:
    TypeError: something that is not tf_keras's; for an object of Keras 3 it
      says how to build it with tf_keras.

  >>> layer = prune_low_magnitude(keras.layers.Dense(4), IterativeSparsity(0.5))
  >>> layer.name.startswith('prune_low_magnitude_dense')
  True
  """
  for thing in to_prune if isinstance(to_prune, list) else [to_prune]:
    compat.check_keras(thing, 'to_prune', keras.layers.Layer)
  return tfmot.sparsity.keras.prune_low_magnitude(
    to_prune, pruning_schedule=pruning_schedule, **kwargs
  )
