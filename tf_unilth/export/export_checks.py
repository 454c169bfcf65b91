"""Checks and notes that all exports have in common."""

from typing import Any

import numpy as np

from tf_unilth.engines.tfmot import (
  keras_3_errors,
  model_layers,
  sparsity_summary,
)
from tf_unilth.engines.tfmot.keras_access import keras


def check_model(model: Any) -> None:
  """Raises an error unless a model can be exported.

  Args:
    model: the argument of an export.

  Raises:
    TypeError: `model` is not a tf_keras model.
    ValueError: the model is still wrapped.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> check_model(prune_low_magnitude(model, FixedMask()))
  Traceback (most recent call last):
  ValueError: model is still wrapped: export tf_unilth.strip_pruning(model).
  """
  keras_3_errors.check_keras(model, 'model', keras.Model)
  if model_layers.has_wrappers(model):
    raise ValueError(
      'model is still wrapped: export tf_unilth.strip_pruning(model).'
    )


def notes_on_zeros(model: keras.Model) -> tuple[str, ...]:
  """Returns a note if a model has no zeros, and no note if it has some.

  Args:
    model: a built model, after `strip_pruning`.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> [note.partition('.')[0] for note in notes_on_zeros(model)]
  ['the model is dense: it has no zeros']
  """
  kernels = sparsity_summary.sparsity_summary(model)
  if kernels.zeros or (not kernels.rows and _has_zeros(model)):
    return ()
  return (
    'the model is dense: it has no zeros. To get a sparse one, train with a '
    'ticket callback such as tf_unilth.UniLTH(), then export '
    'tf_unilth.strip_pruning(model)',
  )


def _has_zeros(model: keras.Model) -> bool:
  """Returns whether any trainable weight with two or more axes has a zero."""
  matrices = [w for w in model.trainable_weights if w.shape.rank > 1]
  return any(np.any(matrix.numpy() == 0) for matrix in matrices)
