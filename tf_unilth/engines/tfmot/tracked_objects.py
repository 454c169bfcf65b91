"""The objects that TensorFlow tracks in a model, with a path to each."""

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import optimizer_traits
from tf_unilth.engines.tfmot.keras_access import keras

_OPTIMIZERS = (keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer)


def descendants(root: Any) -> Iterator[tuple[str, Any]]:
  """Yields the path and the object of all that a TensorFlow checkpoint saves.

  Each object occurs once. The root comes first, with an empty path.
  """
  view = tf.train.TrackableView(root)
  found, waiting = {id(root)}, [('', root)]
  for path, node in waiting:
    yield path, node
    for name, child in view.children(node).items():
      if id(child) not in found:
        found.add(id(child))
        waiting.append((f'{path}/{name}' if path else name, child))


def compiled_optimizers(model: keras.Model) -> list[Any]:
  """Returns the optimizers that a model was compiled with, as a list."""
  return [o for o in tf.nest.flatten(model.optimizer) if o is not None]


def optimizers(
  model: keras.Model, nodes: Sequence[tuple[str, Any]] | None = None
) -> dict[str, Any]:
  """Returns all optimizers of a model by path.

  A single compiled optimizer has the path `optimizer`. The optimizers of a
  compiled list and those that are attributes have their own paths.

  Args:
    model: a compiled model.
    nodes: the items of `descendants(model)`, if they are known.
  """
  compiled = compiled_optimizers(model)
  found = {'optimizer': compiled[0]} if len(compiled) == 1 else {}
  known = {id(optimizer) for optimizer in found.values()}
  for path, node in descendants(model) if nodes is None else nodes:
    if isinstance(node, _OPTIMIZERS) and id(node) not in known:
      found[path] = node
  inside = {
    id(optimizer_traits.inner(optimizer))
    for optimizer in found.values()
    if optimizer_traits.inner(optimizer) is not optimizer
  }
  return {p: o for p, o in found.items() if id(o) not in inside}
