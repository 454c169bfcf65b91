"""What the recipes train with: published SGD, loss and learning rate."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import initial_weights
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig


@keras.saving.register_keras_serializable('recipes')
class SGD(keras.optimizers.SGD):
  """SGD with the weight decay that published settings mean.

  It is L2 in the gradient, g + l2 w, for all trained variables, and goes
  through the momentum, as in PyTorch and He et al. (2016). Keras's own
  `weight_decay` is decoupled, w (1 - learning rate weight_decay), and ten or
  more times as weak at the same number. Gradients are clipped before.

  Args:
    learning_rate: a number or a schedule.
    l2: at least 0.
    **kwargs: as of Keras's `SGD`.
  """

  # Its l2 w is 0 where w is.
  keeps_zeros = True

  def __init__(self, learning_rate: Any = 0.01, l2: float = 0.0, **kwargs: Any):
    super().__init__(learning_rate, **kwargs)
    self.l2 = l2

  def update_step(self, gradient: Any, variable: Any) -> None:
    if self.l2:
      gradient = gradient + tf.cast(self.l2, variable.dtype) * variable
    super().update_step(gradient, variable)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'l2': self.l2}


@keras.saving.register_keras_serializable('recipes')
class SmoothedCrossentropy(keras.losses.Loss):
  """Cross-entropy of logits with integer labels that are smoothed.

  Of each label a share is spread evenly over all classes (Szegedy et al. 2016);
  Keras smooths labels only where they are one-hot.

  Args:
    smoothing: the share, in [0, 1).
    **kwargs: as of Keras's `Loss`.
  """

  def __init__(self, smoothing: float, **kwargs: Any):
    super().__init__(**kwargs)
    self.smoothing = smoothing

  def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
    classes = y_pred.shape[-1]
    labels = tf.one_hot(tf.reshape(y_true, [-1]), classes)
    return keras.losses.categorical_crossentropy(
      labels, y_pred, from_logits=True, label_smoothing=self.smoothing
    )

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'smoothing': self.smoothing}


@keras.saving.register_keras_serializable('recipes')
class OneDecay(keras.optimizers.schedules.LearningRateSchedule):
  """One decay over the whole run: no ticket callback restarts it.

  As with Keras's own schedules a rewind puts its position back too, so that a
  run that was rewound does not come to its end.

  Args:
    **arguments: as of `StagedLearningRate`.
  """

  def __init__(self, **arguments: Any):
    super().__init__()
    self._decay = tf_unilth.StagedLearningRate(**arguments)

  def __call__(self, step: Any) -> tf.Tensor:
    return self._decay(step)

  def get_config(self) -> dict[str, Any]:
    return self._decay.get_config()


def learning_rate(
  recipe: Recipe, config: RunConfig, steps: int, highest: float | None = None
) -> tf_unilth.StagedLearningRate | OneDecay:
  """Returns the schedule over a run.

  Args:
    recipe: says how it decays.
    config: of the run.
    steps: of the run.
    highest: the rate that it begins with; `None` for the configuration's.
  """
  restarts = config.pruning.lr_restart is not False
  schedule = tf_unilth.StagedLearningRate if restarts else OneDecay
  return schedule(
    initial_learning_rate=config.learning_rate if highest is None else highest,
    decay=recipe.decay,
    decay_steps=steps,
    warmup=config.warmup_epochs / config.epochs,
    boundaries=recipe.boundaries,
  )


def loss(config: RunConfig) -> keras.losses.Loss:
  """Returns the loss of a run."""
  if config.label_smoothing:
    return SmoothedCrossentropy(config.label_smoothing)
  return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(
  recipe: Recipe,
  config: RunConfig,
  image_shape: tuple[int, ...],
  classes: int,
) -> keras.Model:
  """Returns the model, with float32 logits also under mixed precision.

  Raises:
    DataError: the initial weights that the flag names do not fit.
  """
  model = recipe.build(image_shape, classes)
  if config.initial_weights:
    initial_weights.load(model, config.initial_weights)
  if model.outputs[0].dtype == tf.float32:
    return model
  cast = keras.layers.Activation('linear', dtype='float32', name='logits')
  return keras.Model(model.inputs, cast(model.outputs[0]), name=model.name)


def compile_model(
  model: keras.Model,
  recipe: Recipe,
  config: RunConfig,
  rate: keras.optimizers.schedules.LearningRateSchedule,
) -> None:
  """Compiles a model as a run's configuration says."""
  model.compile(
    SGD(
      rate,
      config.weight_decay,
      momentum=recipe.momentum,
      nesterov=recipe.nesterov,
      clipnorm=config.clipnorm,
    ),
    loss(config),
    metrics=['accuracy'],
    jit_compile=config.jit_compile,
    steps_per_execution=config.steps_per_execution,
  )
