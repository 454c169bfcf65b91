"""PruneLowMagnitude: tfmot's wrapper, repaired."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import (
  fit_introspection,
  forward_masking,
  keras_access,
  prunable_weights,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.fixed_mask import FixedMask
from tf_unilth.engines.tfmot.iterative_sparsity import (
  IterativeSparsity,
  forgotten_callback,
)
from tf_unilth.engines.tfmot.keras_access import keras, register
from tf_unilth.selection import pruning_units


@register
class PruneLowMagnitude(keras_access.PruneLowMagnitude):
  """tfmot's pruning wrapper around one layer, without what it breaks.

  It is one of tfmot's: `strip_pruning`, `UpdatePruningStep`,
  `PruningSummaries` and policies take it as such. What differs:

  - Kernels of layers that tfmot does not know: see `prunable.py`.
  - Mixed precision: the mask multiplies the float32 weights themselves. tfmot
    multiplies what Keras has cast and writes it back, which rounds them to
    half precision in every forward pass.
  - The layer inside is called as a layer: masks of sequences, activity
    regularizers, several inputs and its own dtype policy are as without it.
  - `get_config` keeps `sparsity_m_by_n`; reloading needs no `prune_scope`.
  - Layers whose kernels are made by their first call can be wrapped unbuilt.
  - Where a ticket callback holds the masks, forward passes cost nothing extra:
    see `holding.py`.

  Args:
    layer: the layer to prune, with at least one kernel.
    *args: as of tfmot's wrapper.
    **kwargs: as of tfmot's wrapper.

  >>> wrapper = PruneLowMagnitude(keras.layers.Dense(2), IterativeSparsity(0.5))
  >>> wrapper(np.ones((1, 3), 'float32')).shape.as_list()
  [1, 2]
  """

  # Whether it was looked at what of the layer stays dense, or need not be.
  is_checked = False

  def __init__(self, layer: keras.layers.Layer, *args: Any, **kwargs: Any):
    if not hasattr(
      layer, 'get_prunable_weights'
    ) and prunable_weights.is_prunable(layer):
      # No lambda, so that the layer can still be copied and pickled.
      layer.get_prunable_weights = functools.partial(
        prunable_weights.prunable_weights, layer
      )
    kwargs.setdefault('dtype', layer.dtype_policy)
    super().__init__(layer, *args, **kwargs)
    self.supports_masking = layer.supports_masking
    # The layer inside casts its inputs itself, by its own policy.
    self._autocast = False

  def __call__(self, *args: Any, **kwargs: Any) -> Any:
    # The layer may have a name of its own for what is `inputs` here.
    first = next(iter(self._layer_parameters))
    for name in (first, 'inputs'):
      if not args and name in kwargs:
        args = (kwargs.pop(name),)
    if not self.built and not prunable_weights.kernels_exist(self.layer):
      self._build_layer(args, kwargs)
    return super().__call__(*args, **kwargs)

  def build_from_config(self, config: dict[str, Any]) -> None:
    # Loading builds a layer before it is called.
    if prunable_weights.builds_alone(self.layer):
      super().build_from_config(config)

  def _build_layer(self, args: Any, kwargs: Any) -> None:
    """Makes the layer's weights by tracing a call of it."""

    def spec(value: Any) -> Any:
      if isinstance(value, keras.__internal__.KerasTensor):
        return value.type_spec
      if isinstance(value, np.ndarray):
        value = tf.convert_to_tensor(value)
      return tf.type_spec_from_value(value) if tf.is_tensor(value) else value

    @tf.function(autograph=False)
    def call(args: Any, kwargs: Any) -> Any:
      return self.layer(*args, **kwargs)

    call.get_concrete_function(*tf.nest.map_structure(spec, (args, kwargs)))

  def build(self, input_shape: Any) -> None:
    # Wrapper's own build, not tfmot's: of two kernels in one layer tfmot
    # gives the masks one name, which HDF5 refuses, and it tracks the kernels
    # once more, which doubles them in a file.
    super(keras_access.PruneLowMagnitude, self).build(input_shape)
    weights = prunable_weights.prunable_weights(self.layer)
    self._check_blocks(weights)
    if not self.is_checked:
      unpruned_layers.warn(
        unpruned_layers.find(self.layer, wrapped=True), stacklevel=2
      )
    self._keep(
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
      # By which tfmot would make a mask of its own in the first step.
      sparsity_m_by_n=None if self._is_fixed else self.sparsity_m_by_n,
    )

  @property
  def _is_fixed(self) -> bool:
    return isinstance(self.pruning_schedule, FixedMask)

  def _check_blocks(self, weights: list[Any]) -> None:
    """Raises if tfmot would, but says which layer and what to do."""
    blocks = pruning_units.from_arguments(
      self.block_size, self.block_pooling_type, None
    )
    for shape in [tuple(weight.shape) for weight in weights]:
      if not blocks.fits(shape):
        self.built = False  # Or whoever tries again would take it for ready.
        raise ValueError(
          f'{blocks.needs}, but a kernel of layer {self.layer.name!r} has '
          f'shape {shape}: leave that layer unwrapped.'
        )

  @tf.__internal__.tracking.no_automatic_dependency_tracking
  def _keep(self, **attributes: Any) -> None:
    """Sets attributes whose variables are tracked elsewhere already."""
    for name, value in attributes.items():
      setattr(self, name, value)

  def _pruning_variables(self, index: int, weight: Any) -> tuple[Any, Any, Any]:
    """Returns a kernel with a mask and a threshold, as tfmot has them."""
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
    """Masks the kernels, where nobody else does, and calls the layer."""
    given = kwargs.pop('training', None)  # Keras's own, if none was given.
    training = self._positional_training(args)
    training = (given if training is None else training) or False
    if not forward_masking.skips_mask(self):
      if training is True:
        self._check_callback()
      keras_access.smart_cond(
        training, self._update, lambda: tf.no_op('no_update')
      )
      self.pruning_obj.weight_mask_op()
    if not self._layer_takes_mask:
      kwargs.pop('mask', None)
    # The layer finds `training` in Keras's context of this call.
    return self.layer(inputs, *args, **kwargs)

  def _check_callback(self) -> None:
    """Raises if Keras trains without a callback that prunes or holds masks."""
    schedule = self.pruning_schedule
    if not isinstance(schedule, IterativeSparsity) or (
      schedule.begin_step is not None
    ):
      return  # tfmot's own callback does it.
    if tf.executing_eagerly() or fit_introspection.is_training():
      with tf.init_scope():
        waits = self.pruning_step.numpy() < 0
      if waits:
        raise forgotten_callback()

  def _update(self) -> tf.Operation:
    """Counts the step, and makes a new mask where the schedule says so."""
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
    """Returns `training` where it stands among what comes after `inputs`."""
    _, *names = self._layer_parameters
    # A recurrent layer's __call__ has another order, without `training`.
    if isinstance(self.layer, keras.layers.RNN) or 'training' not in names:
      return None
    position = names.index('training')
    return args[position] if position < len(args) else None

  def reset_states(self, *args: Any, **kwargs: Any) -> None:
    """Resets a stateful layer, as its model asks for."""
    self.layer.reset_states(*args, **kwargs)

  def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
    return self.layer.compute_mask(inputs, mask)

  # Files hold masked weights, whatever has trained or written them since.

  def save_own_variables(self, store: Any) -> None:
    """Masks, as `.keras` and `.weights.h5` files come to the layer inside."""
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
    wrapper = super().from_config(config)
    wrapper.is_checked = True  # When it was made first.
    return wrapper

  def get_config(self) -> dict[str, Any]:
    if tf.executing_eagerly():
      # Keras asks a layer nothing else before it writes an `.h5` file.
      forward_masking.zero_pruned(self)
    return {**super().get_config(), 'sparsity_m_by_n': self.sparsity_m_by_n}
