"""The classes that Keras must know to load files of wrapped models."""

from tf_unilth.engines.tfmot import (
  fixed_mask,
  iterative_sparsity,
  pruning_wrapper,
  staged_learning_rate,
)

REGISTERED = (
  fixed_mask.FixedMask,
  iterative_sparsity.IterativeSparsity,
  pruning_wrapper.PruneLowMagnitude,
  staged_learning_rate.StagedLearningRate,
)
