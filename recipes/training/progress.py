"""What a person sees of a run while it goes on."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import tf_keras as keras

_STAGES = {0: '', 1: 'dense', 2: 'rounds done: {}', 3: 'finetuning'}
_BAR = 10
_REFRESH = 0.2  # Seconds.


class Progress(keras.callbacks.Callback):
  """A line per epoch, and a bar while it runs, with the sparsity in both.

  Keras's own bar has the sparsity at an epoch's end only, and `stage: 2.0000`.

  Args:
    verbose: 0 is silent, 1 a bar where the output is a terminal, 2 lines only.
    ticket: the ticket callback, which knows the sparsity now.
  """

  # Keras need not wait for a step's metrics that are not shown.
  _supports_tf_logs = True

  def __init__(self, verbose: int, ticket: Any = None):
    super().__init__()
    self._lines = verbose > 0
    self._bar = verbose == 1 and sys.stdout.isatty()
    self._ticket = ticket

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self._epoch = f'epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}'
    self._began = self._shown = time.monotonic()

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    now = time.monotonic()
    if self._bar and now - self._shown >= _REFRESH:
      self._shown = now
      self._show_bar(batch + 1, now - self._began, logs)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if self._lines:
      seconds = time.monotonic() - self._began
      line = epoch_line(self._epoch, seconds, logs or {})
      print(('\r\x1b[K' if self._bar else '') + line, flush=True)

  @property
  def _epochs(self) -> int:
    return self.params['epochs']

  def _show_bar(self, done: int, seconds: float, logs: Any) -> None:
    steps = self.params['steps']
    filled = _BAR * done // steps
    left = seconds / done * (steps - done)
    line = f'{self._epoch} [{"=" * filled:.<{_BAR}}] {done}/{steps}'
    if self._ticket is not None:
      line += f'  sparsity {self._ticket.sparsity:.2%}'
    line += f'  loss {float(logs["loss"]):.4f}'
    line += f'  accuracy {float(logs["accuracy"]):.2%}  {left:.0f} s left'
    # A line that wraps could not be overwritten.
    width = shutil.get_terminal_size().columns - 1
    print(f'\r\x1b[K{line[:width]}', end='', flush=True)


def epoch_line(epoch: str, seconds: float, logs: Mapping[str, Any]) -> str:
  """Returns the line of an epoch.

  >>> logs = {'loss': 0.5, 'val_loss': 0.2, 'accuracy': 0.9}
  >>> epoch_line('epoch 3/9', 2.14, {**logs, 'sparsity': 0.4})
  'epoch 3/9  2.1 s  loss 0.5000 val 0.2000  accuracy 90.00%  sparsity 40.00%'
  """
  parts = [epoch, f'{seconds:.1f} s']
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
