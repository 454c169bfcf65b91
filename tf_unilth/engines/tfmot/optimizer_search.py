"""Finds the optimizer of a model that trains the wrapped kernels."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import (
  optimizer_traits,
  prunable_weights,
  tracked_objects,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers


def training_optimizer(
  model: keras.Model, layers: PrunedLayers, data_handler: Any
) -> Any:
  """Returns the optimizer that applies gradients to the wrapped kernels.

  This is `model.optimizer`, unless the model has other optimizers, as in GANs,
  distillation and contrastive learning. Then the train step is traced once,
  without running it, to see which optimizer gets the kernels.

  Args:
    model: a compiled model.
    layers: its wrapped layers.
    data_handler: the Keras data handler of the `fit` that begins; `None`
      outside `fit`, where `model.optimizer` is returned.

  Raises:
    ValueError: there is no such optimizer, or more than one.
  """
  found = reachable(model)
  own = model.optimizer
  if len(found) > 1 and data_handler is not None:
    traced = _trace(model, layers, found, data_handler)
    if traced is not None:
      return _single(traced, found)
  if isinstance(own, list | tuple):
    if len(own) != 1:
      raise ValueError(
        'optimizer of the model must be a single optimizer, but it is a list '
        f'of {len(own)} ({_names(own)}): compile the model with the optimizer '
        'that trains the wrapped layers.'
      )
    (own,) = own
  return own


def reachable(model: keras.Model) -> list[Any]:
  """Returns the optimizers that are attributes of a model or of its layers.

  Those in lists and dicts count too. The compiled optimizers come first.
  """
  found = [
    *tracked_objects.compiled_optimizers(model),
    *tracked_objects.optimizers(model).values(),
  ]
  # A LossScaleOptimizer and its inner optimizer count as one.
  unique: dict[int, Any] = {}
  for optimizer in found:
    unique.setdefault(id(optimizer_traits.inner(optimizer)), optimizer)
  return list(unique.values())


def describe(optimizer: Any) -> str:
  """Returns an optimizer's class and name, for messages."""
  name = getattr(optimizer_traits.inner(optimizer), 'name', None) or getattr(
    optimizer, '_name', ''
  )
  return f'{type(optimizer).__name__} {name!r}'


def _names(found: Sequence[Any]) -> str:
  return ', '.join(describe(optimizer) for optimizer in found)


def _single(trained: Sequence[Any], found: Sequence[Any]) -> Any:
  if len(trained) == 1:
    return trained[0]
  if trained:
    raise ValueError(
      'the wrapped layers must be trained by one optimizer, but are trained by '
      f'{_names(trained)}: wrap only layers that one of them trains.'
    )
  raise ValueError(
    f"none of the model's optimizers ({_names(found)}) applies gradients to "
    'the wrapped layers. Keep the optimizer that trains them as an attribute '
    'of the model, or pass it to compile.'
  )


def _trace(
  model: keras.Model,
  layers: PrunedLayers,
  found: Sequence[Any],
  data_handler: Any,
) -> list[Any] | None:
  """Returns the optimizers that get wrapped kernels in a traced train step.

  `None` if the step cannot be traced, for example if it only runs eagerly.
  """
  spec = getattr(data_handler._dataset, 'element_spec', None)
  if spec is None:
    return None
  kernels = {kernel.weight.ref() for kernel in layers.kernels}
  trained: dict[int, Any] = {}

  def step(data: Any) -> None:
    model.distribute_strategy.run(model.train_step, args=(data,))

  with _recording(found, kernels, trained):
    try:
      tf.function(step).get_concrete_function(spec)
    except Exception:  # If the user's step raises, fit will raise it again.
      if not trained:
        return None
  return list(trained.values())


@contextlib.contextmanager
def _recording(
  found: Sequence[Any], kernels: set[Any], trained: dict[int, Any]
) -> Iterator[None]:
  """Adds to `trained`, by id, the optimizers that get one of the kernels."""
  patches = Patches()

  def record(optimizer: Any, apply_gradients: Any) -> Any:
    def apply(grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
      pairs = list(grads_and_vars)
      if any(
        prunable_weights.unwrap_autocast(v).ref() in kernels for _, v in pairs
      ):
        trained[id(optimizer)] = optimizer
      return apply_gradients(pairs, *args, **kwargs)

    return apply

  for optimizer in found:
    patches.set(
      'optimizer',
      optimizer,
      'apply_gradients',
      record(optimizer, optimizer.apply_gradients),
    )
  try:
    yield
  finally:
    patches.restore()
