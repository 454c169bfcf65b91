"""What is checked of a Keras 3 model before it is exported."""

import importlib.util

import keras

from tf_unilth.engines.keras3 import pruning_plan

_EXPORTING = ('tensorflow', 'jax')


def is_prepared(model: keras.Model) -> bool:
  """Returns whether a model has a pruning plan."""
  return pruning_plan.plan_of(model) is not None


def check_backend(function: str) -> None:
  """Raises a `ValueError` if the backend cannot export models.

  Args:
    function: the name of the export.
  """
  backend = keras.backend.backend()
  if backend not in _EXPORTING:
    raise ValueError(
      f'{function} needs the TensorFlow or JAX backend, but Keras runs on '
      f"{backend}. Save the model (model.save('model.keras')), then load and "
      'export it in a process with KERAS_BACKEND=tensorflow.'
    )
  if importlib.util.find_spec('tensorflow') is None:
    raise ValueError(
      f'{function} needs TensorFlow, which is not installed: pip install '
      'tensorflow.'
    )
