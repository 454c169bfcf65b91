"""The classes that tf_keras must know to load files of wrapped models."""

from tf_unilth.engines.tfmot import (
  fixed_mask,
  iterative_sparsity,
  pruning_wrapper,
  staged_learning_rate,
)
from tf_unilth.schedules import engine_class
from tf_unilth.schedules import fixed_mask as plain_fixed_mask
from tf_unilth.schedules import iterative_sparsity as plain_iterative_sparsity

REGISTERED = (
  fixed_mask.FixedMask,
  iterative_sparsity.IterativeSparsity,
  pruning_wrapper.PruneLowMagnitude,
  staged_learning_rate.StagedLearningRate,
)

engine_class.use_subclasses(
  {
    plain_fixed_mask.FixedMask: fixed_mask.FixedMask,
    plain_iterative_sparsity.IterativeSparsity: (
      iterative_sparsity.IterativeSparsity
    ),
  }
)
