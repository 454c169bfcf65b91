"""Random state of a run: made readable where Keras hides it, kept, put back."""

import random
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tf_unilth.engines.tfmot import keras_access, model_layers
from tf_unilth.engines.tfmot.keras_access import keras

# What `tf.compat.v1.get_seed` gives where no seed was set.
_NO_SEED = 87654321


def global_seed() -> int | None:
  """Returns what `tf.random.set_seed` was given, `None` if it was not."""
  seed, _ = tf.compat.v1.get_seed(0)
  return None if seed == _NO_SEED else int(seed)


def make_restorable(model: keras.Model) -> bool:
  """Gives layers that draw random numbers generators that can be saved.

  Keras's default is to draw from operations whose state TensorFlow neither
  reads nor writes. This is what `keras.backend.experimental.
  enable_tf_random_generator` does for layers that are made after it.

  Returns:
    Whether it changed a layer: a train function must be traced again then.
  """
  changed = False
  with model.distribute_strategy.scope():
    for generator in _layer_generators(model):
      if generator._rng_type == generator.RNG_LEGACY_STATEFUL:
        generator._rng_type = generator.RNG_STATEFUL
        generator._built = False
        changed = True
      generator._maybe_init()
    _global_generator()  # Made now, as all workers must make it together.
  return changed


def generator_variables(model: keras.Model) -> dict[str, Any]:
  """Returns the states of the layers' generators, by name."""
  everywhere = _global_generator()
  generators = [
    generator._generator
    for generator in _layer_generators(model)
    if generator._rng_type == generator.RNG_STATEFUL
  ]
  found = {f'random/{i}': g.state for i, g in enumerate(generators)}
  if everywhere is not None:
    found['random/global'] = everywhere.state
  return found


def _global_generator() -> tf.random.Generator | None:
  try:
    return tf.random.get_global_generator()
  except RuntimeError:
    return None  # Operations are deterministic, and the user has set none.


def _layer_generators(model: keras.Model) -> list[Any]:
  """Returns the generators of a model's layers, each once, in order."""
  found = [
    getattr(layer, '_random_generator', None)
    for layer in model_layers.flatten_layers(model)
  ]
  kind = keras_access.RandomGenerator
  return list({id(g): g for g in found if isinstance(g, kind)}.values())


def take_host_state() -> dict[str, Any]:
  """Returns the state of Python's, NumPy's and eager TensorFlow's numbers."""
  eager = eager_random()
  return {
    'python': _packed(random.getstate()),
    'numpy': np.random.get_state(legacy=True),
    'tensorflow': None if eager is None else _packed(eager.getstate()),
  }


def put_host_state(state: dict[str, Any]) -> None:
  """Puts back what `take_host_state` returned."""
  random.setstate(_unpacked(state['python']))
  np.random.set_state(state['numpy'])
  eager = eager_random()
  if eager is not None and state['tensorflow'] is not None:
    eager.setstate(_unpacked(state['tensorflow']))


def _packed(state: Any) -> Any:
  version, numbers, gauss = state
  return version, np.array(numbers, np.uint32), gauss


def _unpacked(state: Any) -> Any:
  version, numbers, gauss = state
  return version, tuple(numbers.tolist()), gauss


def unrestorable_operations(model: keras.Model) -> list[str]:
  """Returns the names of random operations that cannot be put back.

  Args:
    model: whose train function was called. One that runs eagerly draws from
      what `take_host_state` takes.
  """
  names: set[str] = set()
  for graph in traced_graphs(model):
    functions = [function.node_def for function in graph.library.function]
    for nodes in (graph.node, *functions):
      names |= {
        node.name
        for node in nodes
        # Keras draws the dropout of cuDNN's layers outside of them.
        if 'seed2' in node.attr and not node.op.startswith('CudnnRNN')
      }
  return sorted(names)


def eager_random() -> random.Random | None:
  """Returns where TensorFlow draws the seeds of eager operations from.

  `None` where no seed was set.
  """
  return getattr(context.context(), '_rng', None)


def traced_graphs(model: keras.Model) -> list[Any]:
  """Returns what was traced of a model's train function, as GraphDefs."""
  function = getattr(model, 'train_tf_function', None)
  if function is None:
    return []
  return [
    traced.graph.as_graph_def()
    for traced in function._list_all_concrete_functions()
  ]
