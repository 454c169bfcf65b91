"""Describes the data of a `fit`; reads only arrays and parts of pipelines."""

from typing import Any

from tf_unilth.resume import object_description, plain_values
from tf_unilth.resume.array_digest import ArrayDigest


def describe(adapter: Any, class_weight: Any) -> dict[str, Any]:
  """Describes kind, shapes and dtypes of the data of a `fit`.

  Args:
    adapter: Keras's data adapter of the `fit`.
    class_weight: the argument of the `fit`.
  """
  tensors = []
  if _is_of_arrays(adapter):
    tensors = [_spec(leaf, (None,)) for leaf in _arrays(adapter._inputs)]
  elif is_dataset(getattr(adapter, '_dataset', None)):
    tensors = _of_datasets().specs(adapter._dataset)
  return {
    'adapter': type(adapter).__name__,
    'tensors': tensors,
    'class_weight': object_description.describe(class_weight),
  }


def validation(parts: tuple[Any, ...]) -> list[str] | None:
  """Returns dtypes and shapes of validation data, `None` if unknown.

  Args:
    parts: x, y and sample weights, or a dataset and twice `None`.
  """
  if is_dataset(parts[0]):
    return _of_datasets().specs(parts[0])
  return [_spec(leaf) for leaf in _arrays(parts)] or None


def of_adapter(adapter: Any) -> dict[str, Any] | None:
  """Returns `contents` of the training data.

  Args:
    adapter: Keras's data adapter of the `fit`.
  """
  if _is_of_arrays(adapter):
    return contents((adapter._inputs,))
  dataset = getattr(adapter, '_dataset', None)
  return contents((dataset,)) if is_dataset(dataset) else None


def contents(data: tuple[Any, ...]) -> dict[str, Any] | None:
  """Returns a digest of the data that can be read twice.

  Args:
    data: nested arrays, or a dataset and twice `None`.

  Returns:
    `arrays`, `elements` and `digest`; `None` if nothing can be read twice.
  """
  if is_dataset(data[0]):
    return _of_datasets().contents(data[0])
  digest = ArrayDigest()
  try:
    for leaf in _arrays(data):
      digest.add(leaf)
  except Exception:  # `fit` reports what is wrong with the data.
    return None
  return digest.result()


def is_dataset(data: Any) -> bool:
  """Returns whether data are a `tf.data.Dataset`."""
  return callable(getattr(data, 'cardinality', None))


def _of_datasets() -> Any:
  """Returns the module that describes tf.data, which needs TensorFlow."""
  from tf_unilth.resume import data_description

  return data_description


def _is_of_arrays(adapter: Any) -> bool:
  return type(adapter).__name__ == 'ArrayDataAdapter'


def _arrays(data: Any) -> list[Any]:
  leaves = plain_values.flatten(data)
  return [leaf for leaf in leaves if hasattr(leaf, 'dtype')]


def _spec(array: Any, begin: tuple[Any, ...] = ()) -> str:
  name, _ = ArrayDigest().dtype_of(array)
  return f'{name} {(*begin, *array.shape[len(begin) :])}'
