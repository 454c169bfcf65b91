"""The random generators of a tf_keras model, also where Keras hides them."""

from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import keras_access, model_layers
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.resume import graph_operations

# The result of `tf.compat.v1.get_seed` if no seed was set.
_NO_SEED = 87654321


def global_seed() -> int | None:
  """Returns the seed of `tf.random.set_seed`, `None` if it was not called."""
  seed, _ = tf.compat.v1.get_seed(0)
  return None if seed == _NO_SEED else int(seed)


def make_restorable(model: keras.Model) -> bool:
  """Gives layers that draw random numbers generators that can be saved.

  By default Keras uses operations whose state TensorFlow can neither read nor
  write. `keras.backend.experimental.enable_tf_random_generator` does the same
  for layers that are created after it is called.

  Args:
    model: a tf_keras model.

  Returns:
    Whether a layer was changed; its train function must then be traced again.
  """
  changed = False
  with model.distribute_strategy.scope():
    for generator in _layer_generators(model):
      if generator._rng_type == generator.RNG_LEGACY_STATEFUL:
        generator._rng_type = generator.RNG_STATEFUL
        generator._built = False
        changed = True
      generator._maybe_init()
    _global_generator()  # Created now: all workers must create it together.
  return changed


def generator_variables(model: keras.Model) -> dict[str, Any]:
  """Returns the state variables of the layers' generators, by name.

  Args:
    model: a model that `make_restorable` has prepared.
  """
  global_generator = _global_generator()
  generators = [
    generator._generator
    for generator in _layer_generators(model)
    if generator._rng_type == generator.RNG_STATEFUL
  ]
  found = {f'random/{i}': g.state for i, g in enumerate(generators)}
  if global_generator is not None:
    found['random/global'] = global_generator.state
  return found


def _global_generator() -> tf.random.Generator | None:
  try:
    return tf.random.get_global_generator()
  except RuntimeError:
    return None  # Operations are deterministic, and no generator was set.


def _layer_generators(model: keras.Model) -> list[Any]:
  """Returns the generators of a model's layers, each once, in order."""
  found = [
    getattr(layer, '_random_generator', None)
    for layer in model_layers.flatten_layers(model)
  ]
  kind = keras_access.RandomGenerator
  return list({id(g): g for g in found if isinstance(g, kind)}.values())


def unrestorable_operations(model: keras.Model) -> list[str]:
  """Returns the names of random operations whose state cannot be restored.

  Args:
    model: a model whose train function was called. A model that runs eagerly
      has none: it draws from the state of eager TensorFlow, which is saved.
  """
  return graph_operations.stateful_random(traced_graphs(model))


def traced_graphs(model: keras.Model) -> list[Any]:
  """Returns the traced graphs of a model's train function.

  Args:
    model: a tf_keras model.

  Returns:
    GraphDefs, none if the train function was not called.
  """
  function = getattr(model, 'train_tf_function', None)
  if function is None:
    return []
  return [
    traced.graph.as_graph_def()
    for traced in function._list_all_concrete_functions()
  ]
