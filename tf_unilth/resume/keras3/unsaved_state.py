"""Warns of state of a Keras 3 model that is not in Keras's variables."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tf_unilth.resume import graph_operations
from tf_unilth.user_warning import warn_user


def warn(model: keras.Model, layers: Sequence[Any]) -> None:
  """Warns of what a resumed run cannot restore.

  Args:
    model: a model whose train function was called.
    layers: the model and its layers.
  """
  backend = keras.backend.backend()
  if backend == 'tensorflow':
    graphs = [
      traced.graph.as_graph_def()
      for function in _tensorflow_functions(model)
      for traced in function._list_all_concrete_functions()
    ]
    graph_operations.warn(graph_operations.stateful_random(graphs))
  elif backend == 'torch':
    names = [*_torch_buffers(model), *_torch_generators(layers)]
    if names:
      warn_user(
        f'{", ".join(dict.fromkeys(names))} of the model are not in variables '
        'of Keras, so they are not saved, and a resumed run would not end as '
        'an uninterrupted one: use layers and keras.random of Keras.',
      )


def _tensorflow_functions(model: keras.Model) -> list[Any]:
  """Returns the tf.functions inside of the train functions of a model."""
  plan = vars(model).get('_pruning_plan')
  waiting = [model.train_function]
  if plan is not None and plan.hooks is not None:
    waiting += plan.hooks.functions
  found, seen = [], set()
  for function in waiting:  # It grows: functions are in closures of others.
    if id(function) in seen:
      continue
    seen.add(id(function))
    if hasattr(function, '_list_all_concrete_functions'):
      found.append(function)
    function = getattr(function, 'python_function', function)
    for cell in getattr(function, '__closure__', None) or ():
      if callable(cell.cell_contents):
        waiting.append(cell.cell_contents)
  return found


def _torch_buffers(model: keras.Model) -> Iterator[str]:
  """Yields the names of buffers of torch modules, such as running means."""
  for name, _ in model.named_buffers():
    yield f'buffer {name!r}'


def _torch_generators(layers: Sequence[Any]) -> Iterator[str]:
  kind = sys.modules['torch'].Generator
  for layer in layers:
    for name, value in vars(layer).items():
      if isinstance(value, kind):
        yield f'torch.Generator {name!r} of layer {layer.name!r}'
