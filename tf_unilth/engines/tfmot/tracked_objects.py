"""What TensorFlow tracks of a model: its objects, with a path to each."""

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import optimizer_traits as one_optimizer
from tf_unilth.engines.tfmot.keras_access import keras

_OPTIMIZERS = (keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer)


def descendants(root: Any) -> Iterator[tuple[str, Any]]:
  """Yields what TensorFlow's checkpoints hold, each once, with its path."""
  view = tf.train.TrackableView(root)
  found, waiting = {id(root)}, [('', root)]
  for path, node in waiting:
    yield path, node
    for name, child in view.children(node).items():
      if id(child) not in found:
        found.add(id(child))
        waiting.append((f'{path}/{name}' if path else name, child))


def compiled_optimizers(model: keras.Model) -> list[Any]:
  """Returns what a model was compiled with: one optimizer, or its list."""
  return [o for o in tf.nest.flatten(model.optimizer) if o is not None]


def optimizers(
  model: keras.Model, nodes: Sequence[tuple[str, Any]] | None = None
) -> dict[str, Any]:
  """Returns all optimizers of a model, by their paths.

  One that it was compiled with has the path `optimizer`; of several of a list
  each has its own, as one that is an attribute of the model does.

  Args:
    model: a compiled model.
    nodes: what `descendants` yields of it, if that is known.
  """
  compiled = compiled_optimizers(model)
  found = {'optimizer': compiled[0]} if len(compiled) == 1 else {}
  known = {id(optimizer) for optimizer in found.values()}
  for path, node in descendants(model) if nodes is None else nodes:
    if isinstance(node, _OPTIMIZERS) and id(node) not in known:
      found[path] = node
  inside = {
    id(one_optimizer.inner(optimizer))
    for optimizer in found.values()
    if one_optimizer.inner(optimizer) is not optimizer
  }
  return {p: o for p, o in found.items() if id(o) not in inside}
