"""Checks and notes that all exports have in common; they need no TensorFlow."""

from typing import Any

import numpy as np

from tf_unilth.engines import pruning_api, served_model


def check_model(model: Any, function: str) -> None:
  """Raises an error unless a model can be exported.

  Args:
    model: the argument of an export.
    function: the name of the export, for messages.

  Raises:
    TypeError: `model` is not a Keras model.
    ValueError: the model is still prepared for pruning, or its backend cannot
      export.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> wrapped = prune_low_magnitude(model, FixedMask())
  >>> check_model(wrapped, 'export_tflite')
  Traceback (most recent call last):
  ValueError: model is still wrapped: export tf_unilth.strip_pruning(model).
  """
  served_model.check(model, function)


def notes_on_zeros(model: Any) -> tuple[str, ...]:
  """Returns a note if a model has no zeros, and no note if it has some.

  Args:
    model: a built model, after `strip_pruning`.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> [note.partition('.')[0] for note in notes_on_zeros(model)]
  ['the model is dense: it has no zeros']
  """
  kernels = pruning_api.sparsity_summary(model)
  if kernels.zeros or (not kernels.rows and _has_zeros(model)):
    return ()
  return (
    # A file of a shrunk model does not tell that it was shrunk.
    'the model is dense: it has no zeros. One that tf_unilth.shrink returned '
    'is smaller instead, without the removed channels. To get a sparse one, '
    'train with a ticket callback such as tf_unilth.UniLTH(), then export '
    'tf_unilth.strip_pruning(model)',
  )


def _has_zeros(model: Any) -> bool:
  """Returns whether any trainable weight with two or more axes has a zero."""
  matrices = [w for w in model.trainable_weights if len(w.shape) > 1]
  return any(np.any(matrix.numpy() == 0) for matrix in matrices)
