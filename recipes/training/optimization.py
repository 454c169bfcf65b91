"""Optimizer, loss and learning rate of the recipes."""

from typing import Any

import tf_unilth
from recipes.training import keras_classes, methods, small_dense
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig


def learning_rate(
  recipe: Recipe, config: RunConfig, steps: int, highest: float | None = None
) -> Any:
  """Returns the learning-rate schedule of a run.

  It is a `StagedLearningRate`, or without `--lr_restart` one that decays once.

  Args:
    recipe: defines how it decays.
    config: of the run.
    steps: training steps of the run.
    highest: the initial rate; `None` for that of the configuration.
  """
  restarts = config.pruning.lr_restart
  if restarts is None:
    restarts = config.pruning.method not in methods.ONE_DECAY
  schedule = tf_unilth.StagedLearningRate
  if not restarts:
    schedule = keras_classes.one_decay(config.keras_module)
  return schedule(
    initial_learning_rate=config.learning_rate if highest is None else highest,
    decay=recipe.decay,
    decay_steps=steps,
    warmup=config.warmup_epochs / config.epochs,
    boundaries=recipe.boundaries,
  )


def loss(config: RunConfig) -> Any:
  """Returns the loss function of a run.

  Args:
    config: of the run.
  """
  keras = config.keras_module
  if config.label_smoothing:
    smoothed = keras_classes.smoothed_crossentropy(keras)
    return smoothed(config.label_smoothing)
  return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(
  recipe: Recipe,
  config: RunConfig,
  image_shape: tuple[int, ...],
  classes: int,
) -> Any:
  """Returns the model of a run, with float32 logits under any precision.

  That of small_dense has fewer units in each layer.

  Args:
    recipe: defines the network.
    config: of the run.
    image_shape: height, width, channels.
    classes: number of labels.

  Raises:
    DataError: the file of `--initial_weights` does not fit the network.
  """
  keras = config.keras_module
  model = recipe.build(keras, image_shape, classes)
  if config.initial_weights:
    from recipes.training import initial_weights  # It imports TensorFlow.

    initial_weights.load(model, config.initial_weights)
  pruning = config.pruning
  if pruning.method == 'small_dense':
    model = small_dense.narrower(
      keras, model, pruning.target_sparsity, pruning.skip or ()
    )
  dtype = model.outputs[0].dtype  # Of TensorFlow, or its name.
  if getattr(dtype, 'name', dtype) == 'float32':
    return model
  cast = keras.layers.Activation('linear', dtype='float32', name='logits')
  return keras.Model(model.inputs, cast(model.outputs[0]), name=model.name)


def compile_model(
  model: Any, recipe: Recipe, config: RunConfig, rate: Any
) -> None:
  """Compiles a model with the optimizer and the loss of a run.

  Args:
    model: to compile.
    recipe: defines the momentum.
    config: of the run.
    rate: the learning-rate schedule.
  """
  keras = config.keras_module
  # Keras 3 chooses by itself; without compilation, JAX would be slow.
  without = False if config.keras == 'tf_keras' else 'auto'
  model.compile(
    keras_classes.sgd(keras)(
      rate,
      config.weight_decay,
      momentum=recipe.momentum,
      nesterov=recipe.nesterov,
      clipnorm=config.clipnorm,
    ),
    loss(config),
    metrics=['accuracy'],
    jit_compile=config.jit_compile or without,
    steps_per_execution=config.steps_per_execution,
  )
