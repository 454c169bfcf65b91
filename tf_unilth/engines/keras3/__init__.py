"""The engine for Keras 3 models, on TensorFlow, JAX and torch.

No layer is wrapped. `prune_low_magnitude` puts a `PruningPlan` on the model,
and the optimizer's `apply` masks gradients, so a weight that is 0 stays 0.
"""

from tf_unilth.engines import private_name_check as _private_name_check

_private_name_check.check(
  'engines/keras3', 'engines', 'algorithms', of=('keras',)
)
