"""Optimizer, loss and learning rate of the recipes."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import initial_weights
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig


@keras.saving.register_keras_serializable('recipes')
class SGD(keras.optimizers.SGD):
  """SGD with the weight decay of published settings.

  It adds l2 * w to the gradient of all trainable variables, before the
  momentum, as PyTorch and He et al. (2016) do. Keras's own `weight_decay` is
  decoupled from the gradient, w (1 - learning_rate * weight_decay): with a
  learning rate of 0.1 it is ten times weaker at the same value, so published
  values could not be used. Gradients are clipped before l2 * w is added.

  Args:
    learning_rate: a number or a schedule.
    l2: the coefficient, at least 0.
    **kwargs: arguments of Keras's `SGD`.

  >>> weight = tf.Variable(2.0)
  >>> _ = SGD(0.1, l2=0.5).apply_gradients([(tf.constant(0.0), weight)])
  >>> round(float(weight), 4)
  1.9
  """

  # A weight of 0 stays 0, since its l2 * w is 0.
  keeps_zeros = True

  def __init__(self, learning_rate: Any = 0.01, l2: float = 0.0, **kwargs: Any):
    super().__init__(learning_rate, **kwargs)
    self.l2 = l2

  def update_step(self, gradient: Any, variable: Any) -> None:
    """Updates a variable, with l2 * variable added to its gradient.

    Args:
      gradient: of the loss, in the shape of the variable.
      variable: to update.
    """
    if self.l2:
      gradient = gradient + tf.cast(self.l2, variable.dtype) * variable
    super().update_step(gradient, variable)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments of the constructor."""
    return {**super().get_config(), 'l2': self.l2}


@keras.saving.register_keras_serializable('recipes')
class SmoothedCrossentropy(keras.losses.Loss):
  """Cross-entropy of logits with smoothed integer labels.

  A fraction of each label is spread evenly over all classes (Szegedy et al.
  2016). Keras smooths one-hot labels only.

  Args:
    smoothing: the fraction, in [0, 1).
    **kwargs: arguments of Keras's `Loss`.

  >>> loss = SmoothedCrossentropy(0.5)
  >>> round(float(loss([1], tf.constant([[0.0, 2.0]]))), 4)
  0.6269
  """

  def __init__(self, smoothing: float, **kwargs: Any):
    super().__init__(**kwargs)
    self.smoothing = smoothing

  def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
    """Returns the loss of each example, [n].

    Args:
      y_true: integer labels, [n] or [n, 1].
      y_pred: logits, [n, classes].
    """
    classes = y_pred.shape[-1]
    labels = tf.one_hot(tf.reshape(y_true, [-1]), classes)
    return keras.losses.categorical_crossentropy(
      labels, y_pred, from_logits=True, label_smoothing=self.smoothing
    )

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments of the constructor."""
    return {**super().get_config(), 'smoothing': self.smoothing}


@keras.saving.register_keras_serializable('recipes')
class OneDecay(keras.optimizers.schedules.LearningRateSchedule):
  """A `StagedLearningRate` that ticket callbacks do not restart.

  It decays once over the whole run. A rewind resets its position, as with
  Keras's own schedules, so a run that was rewound does not reach its end.

  Args:
    **arguments: arguments of `StagedLearningRate`.

  >>> rate = OneDecay(initial_learning_rate=0.2, decay_steps=10)
  >>> [round(float(rate(step)), 3) for step in (0, 5, 10)]
  [0.2, 0.1, 0.0]
  """

  def __init__(self, **arguments: Any):
    super().__init__()
    self._decay = tf_unilth.StagedLearningRate(**arguments)

  def __call__(self, step: Any) -> tf.Tensor:
    return self._decay(step)

  def get_config(self) -> dict[str, Any]:
    """Returns the arguments of the constructor."""
    return self._decay.get_config()


def learning_rate(
  recipe: Recipe, config: RunConfig, steps: int, highest: float | None = None
) -> tf_unilth.StagedLearningRate | OneDecay:
  """Returns the learning-rate schedule of a run.

  Args:
    recipe: defines how it decays.
    config: of the run.
    steps: training steps of the run.
    highest: the initial rate; `None` for that of the configuration.
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
  """Returns the loss function of a run.

  Args:
    config: of the run.
  """
  if config.label_smoothing:
    return SmoothedCrossentropy(config.label_smoothing)
  return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(
  recipe: Recipe,
  config: RunConfig,
  image_shape: tuple[int, ...],
  classes: int,
) -> keras.Model:
  """Returns the model of a run, with float32 logits under any precision.

  Args:
    recipe: defines the network.
    config: of the run.
    image_shape: height, width, channels.
    classes: number of labels.

  Raises:
    DataError: the file of `--initial_weights` does not fit the network.
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
  """Compiles a model with the optimizer and the loss of a run.

  Args:
    model: to compile.
    recipe: defines the momentum.
    config: of the run.
    rate: the learning-rate schedule.
  """
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
