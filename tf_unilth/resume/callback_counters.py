"""Callbacks whose counters are saved, and their settings."""

from collections.abc import Iterator, Sequence
from typing import Any

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines import which_keras
from tf_unilth.resume import model_description, object_description

# Attributes to save, by the name of the class in either Keras or here. All
# exist when the first epoch begins.
_COUNTERS: dict[str, tuple[str, ...]] = {
  'EarlyStopping': (
    'wait',
    'stopped_epoch',
    'best',
    'best_weights',
    'best_epoch',
  ),
  'ReduceLROnPlateau': ('wait', 'cooldown_counter', 'best'),
  'ModelCheckpoint': (
    'best',
    'epochs_since_last_save',
    '_batches_seen_since_last_saving',
    '_last_batch_seen',
  ),
  'TicketCallback': ('rewind_weights',),
}
# Attributes to compare.
_SETTINGS: dict[str, tuple[str, ...]] = {
  'EarlyStopping': (
    'patience',
    'min_delta',
    'baseline',
    'start_from_epoch',
    'restore_best_weights',
    'monitor_op',
  ),
  'ReduceLROnPlateau': (
    'factor',
    'patience',
    'min_delta',
    'cooldown',
    'min_lr',
    'mode',
  ),
  'ModelCheckpoint': (
    'save_best_only',
    'save_weights_only',
    'save_freq',
    'monitor_op',
  ),
}


def counters(callbacks: Sequence[Any]) -> Iterator[tuple[Any, list[str]]]:
  """Yields the callbacks with counters, in order, and their attribute names.

  Args:
    callbacks: the callbacks of a `fit`.
  """
  for callback in callbacks:
    for kind, names in _COUNTERS.items():
      if _is_a(callback, kind):
        yield callback, [name for name in names if name in vars(callback)]


def class_names(callbacks: Sequence[Any]) -> list[str]:
  """Returns the class names of the callbacks with counters, in order.

  Args:
    callbacks: the callbacks of a `fit`.
  """
  return [type(callback).__name__ for callback, _ in counters(callbacks)]


def _is_a(callback: Any, kind: str) -> bool:
  if kind == 'TicketCallback':
    return isinstance(callback, TicketCallback)
  return which_keras.has_base(callback, kind)


def describe(model: Any, callbacks: Sequence[Any]) -> dict[str, Any]:
  """Returns the settings of callbacks with counters, and what they monitor.

  Args:
    model: a compiled model.
    callbacks: the callbacks of the `fit`.

  Returns:
    Plain values of `callbacks`, `monitored metrics` and
    `LearningRateScheduler`.
  """
  metrics, settings = {}, []
  for callback in callbacks:
    name, metric = model_description.monitored(model, callback)
    if metric is not None:
      metrics[name] = metric
    settings += [
      {'class': type(callback).__name__, 'monitor': name, **_settings(*match)}
      for match in _matches(callback)
    ]
  return {
    'callbacks': settings,
    'monitored metrics': metrics,
    'LearningRateScheduler': [
      object_description.describe(callback.schedule)
      for callback in callbacks
      if _is_a(callback, 'LearningRateScheduler')
    ],
  }


def _matches(callback: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
  for kind, names in _SETTINGS.items():
    if _is_a(callback, kind):
      yield callback, names


def _settings(callback: Any, names: Sequence[str]) -> dict[str, Any]:
  found = {name: getattr(callback, name, None) for name in names}
  operation = found.get('monitor_op')
  if operation is not None:  # A NumPy function, `less` or `greater`.
    found['monitor_op'] = getattr(operation, '__name__', None)
  if which_keras.is_keras_3(callback):
    # It chooses the operation when the first epoch has ended, and then the
    # sign of `min_delta`.
    found |= {'monitor_op': None, 'mode': callback.mode}
    found['min_delta'] = abs(found.get('min_delta') or 0)
  return object_description.describe(found)
