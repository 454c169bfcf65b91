"""FixedMask: keeps the zeros of a sparse model in further training."""

from typing import Any

from tf_unilth.schedules.iterative_sparsity import IterativeSparsity


class FixedMask(IterativeSparsity):
  """Keeps the zeros of a sparse model: no weight is pruned or restored.

  The mask of a kernel is set when its layer is wrapped, and keeps the weights
  that are not zero then. Any ticket callback applies the mask after every step;
  tfmot's `UpdatePruningStep` applies it at the end of each epoch. Needs
  `tf_unilth.prune_low_magnitude`: tfmot's function does not set the mask.

  >>> ticket = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> ticket.set_weights([np.float32([[1, 0], [0, 2], [3, 0]]), np.zeros(2)])
  >>> model = prune_low_magnitude(ticket, FixedMask())
  >>> model.compile('sgd', 'mse')
  >>> _ = model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0,
  ...               callbacks=[UniLTH(verbose=0)])
  >>> sparsity_summary(model).zeros
  3
  """

  def __init__(self):
    super().__init__(0.0)
    # Whether a ticket has set the masks. A weight that they keep may then be
    # zero at the start.
    self.masks_given = False

  def _arguments(self) -> dict[str, Any]:
    return {}

  def get_config(self) -> dict[str, Any]:
    """Returns the config of `IterativeSparsity` and whether masks were set."""
    config = super().get_config()
    if self.masks_given:
      config['config']['masks_given'] = True
    return config

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> Any:
    """Returns a schedule from the result of `get_config`.

    Args:
      config: the result, or only its inner config.
    """
    arguments = dict(config.get('config', config))
    masks_given = arguments.pop('masks_given', False)
    schedule = super().from_config(arguments)
    schedule.masks_given = masks_given
    return schedule
