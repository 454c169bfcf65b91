"""Measures what int8 costs after pruning: accuracy, and zeros that are lost.

  python -m recipes.costs.quantization --recipe=mnist_lenet --data_dir=... \\
    --output=quantization.json
  KERAS_BACKEND=jax python -m recipes.costs.quantization --keras=keras ...

Makes the run of a recipe, or takes it as finished from its --output_dir, loads
the weights of its SavedModel and quantizes them. With --keras=keras, that is
Keras's own `quantize('int8')`, without training. With tf_keras, it is tfmot's
quantization-aware training that preserves pruning, for two more epochs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

import tf_unilth
from recipes.common import tables
from recipes.costs import result_file
from recipes.data.dataset import Dataset, Split
from recipes.training import (
  catalogue,
  command_line,
  experiment,
  keras_classes,
  optimization,
)
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig
from tf_unilth import inspection

FLAGS = flags.FLAGS
# Of the quantization-aware training: epochs, and factor to the run's rate.
_EPOCHS, _FACTOR = 2, 0.01


def measure(recipe: Recipe, config: RunConfig) -> dict[str, Any]:
  """Returns accuracy and zeros of a run's network, pruned and quantized.

  Args:
    recipe: what to train on what.
    config: of its run.

  Raises:
    ValueError: the run exports no SavedModel.
  """
  if 'saved_model' not in config.export:
    raise ValueError(
      '--export must have saved_model, from which the weights are read.'
    )
  experiment.run(recipe, config)
  trained = dataclasses.replace(config, initial_weights=str(config.output_dir))
  recipe = recipe.configured(config.recipe_flags)
  data = recipe.load(config.data_options)
  model = optimization.build(recipe, trained, data.image_shape, data.classes)
  _compile(model, config)
  kernels = [kernel.values for kernel in inspection.read_kernels(model)]
  found = {
    'sparsity': tf_unilth.sparsity_summary(model).sparsity,
    'test_accuracy': _accuracy(model, data.test, config),
  }
  if config.keras == 'keras':
    model.quantize('int8')
    _compile(model, config)
    after = [kernel.values for kernel in inspection.read_kernels(model)]
  else:
    model = _trained_for_int8(model, data, config)
    after = [
      weight.numpy()
      for weight in model.weights
      if weight.name.endswith('kernel:0')
    ]
  return {
    **found,
    'quantized_test_accuracy': _accuracy(model, data.test, config),
    'zeros': sum(int(np.sum(kernel == 0)) for kernel in kernels),
    'zeros_lost': sum(
      int(np.sum(new[old == 0] != 0))
      for old, new in zip(kernels, after, strict=True)
    ),
  }


def _trained_for_int8(model: Any, data: Dataset, config: RunConfig) -> Any:
  """Returns a model of tf_keras after tfmot's quantization-aware training."""
  import tensorflow_model_optimization as tfmot  # Of tf_keras alone.

  annotated = tfmot.quantization.keras.quantize_annotate_model(model)
  scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
  model = tfmot.quantization.keras.quantize_apply(annotated, scheme)
  rate = config.learning_rate * _FACTOR
  _compile(model, config, config.keras_module.optimizers.SGD(rate))
  model.fit(
    data.train.epochs(config.batch_size, config.seed, 0, _EPOCHS),
    epochs=_EPOCHS,
    steps_per_epoch=-(-data.train.examples // config.batch_size),
    verbose=0,
  )
  return model


def _compile(model: Any, config: RunConfig, optimizer: Any = 'sgd') -> None:
  loss = optimization.loss(config)
  model.compile(optimizer, loss, metrics=['accuracy'])


def _accuracy(model: Any, split: Split, config: RunConfig) -> float:
  batches = split.batches(config.batch_size)
  if config.keras == 'keras':
    batches = keras_classes.py_dataset(config.keras_module)(batches)
  return float(model.evaluate(batches, verbose=0)[1])


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = catalogue.chosen(arguments)
  command_line.set_flag_defaults(recipe)
  own = [command_line.RECIPE_FLAGS] if recipe.flags else []
  return command_line.parse(arguments, [catalogue.GROUP, *own])


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  try:
    command_line.reject_positional_arguments(arguments)
    recipe = catalogue.load(FLAGS.recipe)
    config = command_line.run_config(recipe)
    found = measure(recipe, config)
  except command_line.expected_errors() as error:
    return command_line.error_line(error)
  print(tables.plain(found.items()))
  path = result_file.OUTPUT.value
  result_file.write(path, config.keras, recipe=recipe.name, **found)
  return None


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)
