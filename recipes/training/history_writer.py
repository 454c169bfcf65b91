"""Writes the epoch logs, the time and the histograms of weights of a run."""

import pathlib
import time
from typing import Any

import numpy as np

from recipes.training import run_directory
from tf_unilth import inspection

HISTORY, PROGRESS = 'history.csv', 'progress.json'
_BINS = 200


def histogram(model: Any) -> dict[str, Any]:
  """Returns a histogram of the non-zero weights of all kernels.

  Returns:
    `limit`, the largest magnitude, and `counts` in bins of equal width from
    -limit to limit.
  """
  values = [
    np.asarray(kernel.values, np.float32)
    for kernel in inspection.read_kernels(model)
  ]
  limit = max(float(np.abs(value).max()) for value in values) or 1.0
  counts = sum(
    np.histogram(value[value != 0], _BINS, (-limit, limit))[0]
    for value in values
  )
  return {'limit': limit, 'counts': np.asarray(counts).tolist()}


class HistoryWriter:
  """Writes `history.csv` and `progress.json` after each epoch.

  It adds `learning_rate`, that of the epoch's last step, to the logs. Keras's
  `CSVLogger` is not used: a resumed run must drop the epochs after its
  checkpoint, and each file must be complete at any moment.
  `keras_classes.callback` makes a callback of it.

  Args:
    directory: of the run; `None` writes nothing.
    rate: the run's learning-rate schedule.
    first_epoch: how many epochs are done; the logs of these are kept.
  """

  model: Any  # Keras sets it.

  def __init__(
    self,
    directory: pathlib.Path | None,
    rate: Any,
    first_epoch: int,
  ):
    super().__init__()
    self._directory, self._rate = directory, rate
    self.history: dict[str, list[float]] = {}
    self.histograms: dict[str, Any] = {}
    self._seconds, self._began = 0.0, time.monotonic()
    if directory is not None and first_epoch:
      self._go_on(directory, first_epoch)

  @property
  def seconds(self) -> float:
    """Seconds of the run until now, including the parts before a resume."""
    return self._seconds + time.monotonic() - self._began

  def on_train_begin(self, logs: Any = None) -> None:
    if self._directory is not None and not self.histograms:
      self.histograms['at the start'] = histogram(self.model)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    logs = {} if logs is None else logs
    last = max(int(self.model.optimizer.iterations.numpy()) - 1, 0)
    logs['learning_rate'] = float(self._rate(last))
    for name, value in logs.items():
      self.history.setdefault(name, []).append(float(value))
    if self._directory is None:
      return
    if logs.get('sparsity') == 0:
      self.histograms['before pruning'] = histogram(self.model)
    run_directory.write_history(self._directory / HISTORY, self.history)
    run_directory.write_json(
      self._directory / PROGRESS,
      {
        'epochs': epoch + 1,
        'seconds': self.seconds,
        'histograms': self.histograms,
      },
    )

  def _go_on(self, directory: pathlib.Path, first_epoch: int) -> None:
    history = run_directory.read_history(directory / HISTORY)
    self.history = {n: values[:first_epoch] for n, values in history.items()}
    known = run_directory.read_json(
      directory / PROGRESS, ('histograms', 'seconds')
    )
    self.histograms, self._seconds = known['histograms'], known['seconds']
    if not (
      isinstance(self.histograms, dict)
      and isinstance(self._seconds, int | float)
    ):
      raise run_directory.RunDirectoryError(
        f'{str(directory / PROGRESS)!r} is damaged: a value has another type.'
      )
