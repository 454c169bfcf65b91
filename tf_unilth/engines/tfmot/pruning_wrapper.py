"""PruneLowMagnitude: the pruning wrapper, based on tfmot's."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import (
  channel_companions,
  fit_introspection,
  forward_masking,
  keras_access,
  prunable_weights,
  traced_build,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import (
  IterativeSparsity,
  missing_callback_error,
)
from tf_unilth.engines.tfmot.keras_access import keras, register
from tf_unilth.selection import pruning_units


@register
class PruneLowMagnitude(keras_access.PruneLowMagnitude):
  """Wraps one layer for pruning; fixes faults of tfmot's wrapper.

  It is a subclass of tfmot's wrapper, and works with tfmot's `strip_pruning`,
  `UpdatePruningStep`, `PruningSummaries` and policies. It differs as follows:

  - It supports more layer types: see `prunable_weights.py`.
  - Under mixed precision, the mask multiplies the float32 weights. tfmot
    multiplies the cast weights and writes them back, which rounds the weights
    to half precision in every forward pass.
  - The inner layer is called as a Keras layer, so sequence masks, activity
    regularizers, several inputs and its own dtype policy keep working.
  - `get_config` keeps `sparsity_m_by_n`. Loading needs no `prune_scope`.
  - A layer that creates its kernels in its first call can be wrapped unbuilt.
  - While a ticket callback applies the masks, forward passes cost nothing
    extra: see `forward_masking.py`.

  Args:
    layer: the layer to prune, with at least one kernel.
    *args: positional arguments of tfmot's wrapper.
    structure: `'channels'` if `prune_low_magnitude` prunes whole channels of
      the model. The layer may then have no kernel, and its biases, gammas,
      betas and depthwise kernels have masks too.
    **kwargs: keyword arguments of tfmot's wrapper.

  >>> wrapper = PruneLowMagnitude(keras.layers.Dense(2), IterativeSparsity(0.5))
  >>> wrapper(np.ones((1, 3), 'float32')).shape.as_list()
  [1, 2]
  """

  def __init__(
    self,
    layer: keras.layers.Layer,
    *args: Any,
    structure: str | None = None,
    **kwargs: Any,
  ):
    if not hasattr(layer, 'get_prunable_weights') and (
      structure is not None or prunable_weights.is_prunable(layer)
    ):
      # A lambda would prevent copying and pickling the layer.
      layer.get_prunable_weights = functools.partial(
        prunable_weights.prunable_weights, layer
      )
    kwargs.setdefault('dtype', layer.dtype_policy)
    super().__init__(layer, *args, **kwargs)
    self.structure = structure
    # How many of the last `pruning_vars` are not counted as weights.
    self.companion_count = 0
    self.supports_masking = layer.supports_masking
    # The inner layer casts its inputs by its own dtype policy.
    self._autocast = False
    # Whether `build` can skip the warning of weights that stay dense.
    self.is_checked = False

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    # The inner layer may name its first argument other than `inputs`.
    first = next(iter(self._layer_parameters))
    for name in (first, 'inputs'):
      if not args and name in kwargs:
        args = (kwargs.pop(name),)
    if not self.built and not prunable_weights.kernels_exist(self.layer):
      traced_build.create_weights(self.layer, args, kwargs)
    return super().__call__(*args, **kwargs)

  def build_from_config(self, config: dict[str, Any]) -> None:
    """Builds a loaded layer, unless only its first call creates the kernels.

    Args:
      config: the result of `get_build_config`.
    """
    if prunable_weights.build_creates_kernels(self.layer):
      super().build_from_config(config)

  def build(self, input_shape: Any) -> None:
    """Creates the masks, and builds the inner layer if needed.

    Args:
      input_shape: the shape of the inputs, with the batch axis.
    """
    # Skips tfmot's `build`. It gives the masks of two kernels in one layer the
    # same name, which HDF5 rejects, and tracks the kernels a second time,
    # which duplicates them in files.
    super(keras_access.PruneLowMagnitude, self).build(input_shape)
    weights = prunable_weights.prunable_weights(self.layer)
    self._check_blocks(weights)
    if self.structure is not None:
      others = channel_companions.companions(self.layer)
      self.companion_count = len(others)
      weights += others
    if not self.is_checked:
      unpruned_layers.warn(unpruned_layers.find(self.layer, wrapped=True))
    self._set_untracked(
      pruning_vars=[
        self._pruning_variables(i, w) for i, w in enumerate(weights)
      ],
      prunable_weights=weights,
    )
    self.pruning_step = self.add_weight(
      'pruning_step',
      shape=[],
      initializer=keras.initializers.Constant(-1),
      dtype=tf.int64,
      trainable=False,
    )
    self.pruning_obj = keras_access.Pruning(
      training_step_fn=functools.partial(getattr, self, 'pruning_step'),
      pruning_vars=self.pruning_vars,
      pruning_schedule=self.pruning_schedule,
      block_size=self.block_size,
      block_pooling_type=self.block_pooling_type,
      # With it, tfmot would compute its own mask in the first step.
      sparsity_m_by_n=None if self._is_fixed else self.sparsity_m_by_n,
    )

  @property
  def _is_fixed(self) -> bool:
    return isinstance(self.pruning_schedule, FixedMask)

  def _check_blocks(self, weights: list[Any]) -> None:
    """Raises if tfmot would; names the layer and says what to do."""
    blocks = pruning_units.from_arguments(
      self.block_size, self.block_pooling_type, None
    )
    for shape in [tuple(weight.shape) for weight in weights]:
      if not blocks.fits(shape):
        self.built = False  # So that another attempt raises again.
        raise ValueError(
          f'{blocks.needs}, but a kernel of layer {self.layer.name!r} has '
          f'shape {shape}: leave that layer unwrapped.'
        )

  @tf.__internal__.tracking.no_automatic_dependency_tracking
  def _set_untracked(self, **attributes: Any) -> None:
    """Sets attributes whose variables are already tracked elsewhere."""
    for name, value in attributes.items():
      setattr(self, name, value)

  def _pruning_variables(self, index: int, weight: Any) -> tuple[Any, Any, Any]:
    """Returns a kernel with its mask and threshold, in tfmot's format."""
    suffix = f'_{index}' if index else ''
    options = {
      'dtype': weight.dtype,
      'experimental_autocast': False,
      'trainable': False,
      'aggregation': tf.VariableAggregation.MEAN,
    }
    mask = self.add_weight(
      f'mask{suffix}', shape=weight.shape, initializer='ones', **options
    )
    threshold = self.add_weight(
      f'threshold{suffix}', shape=[], initializer='zeros', **options
    )
    if self._is_fixed:
      mask.assign(tf.cast(weight != 0, mask.dtype))
    return weight, mask, threshold

  def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Masks the kernels, unless a train step does, and calls the inner layer.

    Args:
      inputs: the first input of the inner layer.
      *args: further arguments of the inner layer.
      **kwargs: further arguments of the inner layer.

    Returns:
      The outputs of the inner layer.

    Raises:
      ValueError: an `IterativeSparsity` without `begin_step` is trained without
        a ticket callback.
    """
    # Keras sets the keyword if the caller does not.
    keyword_training = kwargs.pop('training', None)
    training = self._positional_training(args)
    training = (keyword_training if training is None else training) or False
    if not forward_masking.skips_mask(self):
      if training is True:
        self._check_callback()
      keras_access.smart_cond(
        training, self._update, lambda: tf.no_op('no_update')
      )
      self.pruning_obj.weight_mask_op()
    if not self._layer_takes_mask:
      kwargs.pop('mask', None)
    # The inner layer reads `training` from Keras's call context.
    return self.layer(inputs, *args, **kwargs)

  def _check_callback(self) -> None:
    """Raises if Keras trains without a callback that applies the masks."""
    schedule = self.pruning_schedule
    if not isinstance(schedule, IterativeSparsity) or (
      schedule.begin_step is not None
    ):
      return  # tfmot's callback prunes.
    if tf.executing_eagerly() or fit_introspection.is_training():
      with tf.init_scope():
        has_no_callback = self.pruning_step.numpy() < 0
      if has_no_callback:
        raise missing_callback_error()

  def _update(self) -> tf.Operation:
    """Counts the step, and updates the mask if the schedule is due."""
    step = self.pruning_step.assign_add(1, read_value=True)
    tf.debugging.assert_greater_equal(
      step, tf.constant(1, tf.int64), self._PRUNE_CALLBACK_ERROR_MSG
    )
    return self.pruning_obj.conditional_mask_update()

  @property
  def _layer_parameters(self) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(self.layer.call).parameters

  @property
  def _layer_takes_mask(self) -> bool:
    parameters = self._layer_parameters.values()
    return any(p.name == 'mask' or p.kind == p.VAR_KEYWORD for p in parameters)

  def _positional_training(self, args: Sequence[Any]) -> Any:
    """Returns `training` from the positional arguments after `inputs`."""
    _, *names = self._layer_parameters
    # The arguments of a recurrent layer's `__call__` have another order and
    # lack `training`.
    if isinstance(self.layer, keras.layers.RNN) or 'training' not in names:
      return None
    position = names.index('training')
    return args[position] if position < len(args) else None

  def reset_states(self, *args: Any, **kwargs: Any) -> None:
    """Resets the states of a stateful inner layer.

    Args:
      *args: arguments of the inner layer's method.
      **kwargs: arguments of the inner layer's method.
    """
    self.layer.reset_states(*args, **kwargs)

  def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
    """Returns the sequence mask that the inner layer computes.

    Args:
      inputs: the inputs of the inner layer.
      mask: their sequence mask, or `None`.
    """
    return self.layer.compute_mask(inputs, mask)

  # The methods below apply the masks before weights are saved, because code
  # without a ticket callback may have changed the weights.

  def save_own_variables(self, store: Any) -> None:
    """Applies the masks before `.keras` and `.weights.h5` files are saved.

    Keras saves the inner layer after this call.

    Args:
      store: the mapping in which Keras collects the arrays of this layer.
    """
    forward_masking.zero_pruned(self)
    super().save_own_variables(store)

  def _trackable_children(
    self, save_type: str = 'checkpoint', **kwargs: Any
  ) -> Any:
    if save_type == 'savedmodel' and tf.executing_eagerly():
      forward_masking.zero_pruned(self)
    return super()._trackable_children(save_type, **kwargs)

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'PruneLowMagnitude':
    """Returns a wrapper from the result of `get_config`.

    Args:
      config: the configuration.
    """
    wrapper = super().from_config(config)
    wrapper.is_checked = True  # The original wrapper has warned.
    return wrapper

  def get_config(self) -> dict[str, Any]:
    """Applies the masks; returns the arguments of tfmot's wrapper."""
    if tf.executing_eagerly():
      # Keras calls no other method of a layer before it saves an `.h5` file.
      forward_masking.zero_pruned(self)
    config = {**super().get_config(), 'sparsity_m_by_n': self.sparsity_m_by_n}
    if self.structure is not None:  # Files of 0.1.0 have no `structure`.
      config['structure'] = self.structure
    return config
