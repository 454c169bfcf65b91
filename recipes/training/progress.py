"""Shows a run while it trains: a line per epoch, and Keras's progress bar."""

import sys
import time
from collections.abc import Mapping
from typing import Any

_STAGES = {0: '', 1: 'dense', 2: 'rounds done: {}', 3: 'finetuning'}
_REFRESH = 0.2  # Seconds.


class Progress:
  """Prints a line per epoch, and a progress bar while it runs.

  Both have the sparsity. Keras's own callback knows it only at the end of an
  epoch, and shows the stage as `stage: 2.0000`. `keras_classes.callback` makes
  a callback of it.

  Args:
    keras: the module of the model's Keras.
    verbose: 0 is silent, 1 a bar where the output is a terminal, 2 lines only.
    ticket: the ticket callback, which knows the current sparsity.
  """

  # Keras need not wait for a step's metrics that are not shown.
  _supports_tf_logs = True

  params: dict[str, Any]  # Keras sets it.

  def __init__(self, keras: Any, verbose: int, ticket: Any = None):
    super().__init__()
    self._keras = keras
    self._prints_lines = verbose > 0
    self._has_bar = verbose == 1 and sys.stdout.isatty()
    self._ticket = ticket

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    epochs = self.params['epochs']
    self._epoch = f'epoch {epoch + 1:>{len(str(epochs))}}/{epochs}'
    self._began = self._shown = time.monotonic()
    if self._has_bar:
      print(self._epoch, flush=True)
      self._bar = self._keras.utils.Progbar(
        self.params['steps'],
        interval=0,  # `on_train_batch_end` sees to it.
        # Shown as they are: not averaged over the steps.
        stateful_metrics=['sparsity', 'loss', 'accuracy'],
      )

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    now = time.monotonic()
    # Reading the logs waits for the step, so they are read for the bar alone.
    if self._has_bar and now - self._shown >= _REFRESH:
      self._shown = now
      shown = (
        {} if self._ticket is None else {'sparsity': self._ticket.sparsity}
      )
      shown |= {name: float(logs[name]) for name in ('loss', 'accuracy')}
      self._bar.update(batch + 1, shown.items(), finalize=False)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if self._prints_lines:
      seconds = time.monotonic() - self._began
      # In place of the bar, under the epoch's number.
      begin = '\r\x1b[K' if self._has_bar else f'{self._epoch}  '
      print(begin + epoch_line(seconds, logs or {}), flush=True)


def epoch_line(seconds: float, logs: Mapping[str, Any]) -> str:
  """Returns the line of an epoch, without its number.

  Args:
    seconds: how long it took.
    logs: of the epoch.

  >>> logs = {'loss': 0.5, 'val_loss': 0.2, 'accuracy': 0.9}
  >>> epoch_line(2.14, {**logs, 'sparsity': 0.4})
  '2.1 s  loss 0.5000 val 0.2000  accuracy 90.00%  sparsity 40.00%'
  """
  parts = [f'{seconds:.1f} s']
  for name, form in (('loss', '{:.4f}'), ('accuracy', '{:.2%}')):
    values = [logs[key] for key in (name, f'val_{name}') if key in logs]
    shown = ' val '.join(form.format(float(value)) for value in values)
    parts.append(f'{name} {shown}')
  if 'sparsity' in logs:
    part = f'sparsity {float(logs["sparsity"]):.2%}'
    stage = _STAGES[int(logs.get('stage', 0))]
    if stage:
      part += f' ({stage.format(int(logs["round"]))})'
    parts.append(part)
  return '  '.join(parts)
