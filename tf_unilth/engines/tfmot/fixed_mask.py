"""FixedMask: a ticket's zeros, held while it is trained further."""

from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.engines.tfmot.keras_access import register


@register
class FixedMask(IterativeSparsity):
  """Keeps the zeros of a sparse model: nothing is pruned, nothing comes back.

  A kernel that is wrapped with it gets the mask "is not zero" of the moment of
  the wrapping. Any ticket callback then holds that mask after every step;
  tfmot's `UpdatePruningStep` in its place does so at the end of each epoch.
  Needs `tf_unilth.prune_low_magnitude`; on tfmot's own the mask stays open.

  >>> ticket = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> ticket.set_weights([np.float32([[1, 0], [0, 2], [3, 0]]), np.zeros(2)])
  >>> model = prune_low_magnitude(ticket, FixedMask())
  >>> model.compile('sgd', 'mse')
  >>> _ = model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0,
  ...               callbacks=[UniLTH(verbose=0)])
  >>> sparsity_summary(model).zeros
  3
  """

  # Whether a ticket has set the masks since: a weight that they keep may then
  # begin from zero.
  masks_given = False

  def __init__(self):
    super().__init__(0.0)

  def __call__(self, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what tfmot asks for: never prune, and the sparsity so far."""
    del step
    return tf.constant(False), tf.identity(self.sparsity)

  def _arguments(self) -> dict[str, Any]:
    return {}

  def get_config(self) -> dict[str, Any]:
    """Returns what `IterativeSparsity` does, and whether masks were given."""
    config = super().get_config()
    if self.masks_given:
      config['config']['masks_given'] = True
    return config

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'FixedMask':
    """Returns a schedule from `get_config`'s dict, or its inner one."""
    given = dict(config.get('config', config))
    masks_given = given.pop('masks_given', False)
    schedule = super().from_config(given)
    schedule.masks_given = masks_given
    return schedule
