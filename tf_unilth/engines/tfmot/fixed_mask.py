"""FixedMask as a tfmot schedule."""

from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import register
from tf_unilth.schedules import fixed_mask as schedules


@register
class FixedMask(schedules.FixedMask, IterativeSparsity):
  """The plain `FixedMask` as a tfmot schedule that never prunes."""

  def __call__(self, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns False, so tfmot never prunes, and the current sparsity.

    Args:
      step: tfmot's `pruning_step`, which is ignored.
    """
    del step
    return tf.constant(False), tf.identity(self.sparsity)
