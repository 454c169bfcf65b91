"""Measures the first step and the peak memory of a training.

  python -m recipes.costs.footprint --model=lenet --method=UniLTH

`recipes.costs.overhead` runs it for each method, in separate processes. It
prints one line of JSON.
"""

import json
import time
from typing import Any

import tf_keras as keras
from absl import app, flags

from recipes.costs import memory, workloads
from tf_unilth import inspection

_MODEL = flags.DEFINE_enum(
  'model', 'lenet', workloads.WORKLOADS, 'Which model.'
)
_METHOD = flags.DEFINE_enum(
  'method', 'dense', workloads.METHODS, 'Which method.'
)
_STEPS = 3  # Of an epoch.


class _FirstStep(keras.callbacks.Callback):
  """Stores the time of the end of the first step."""

  def __init__(self):
    super().__init__()
    self.time: float | None = None

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self.time = self.time or time.perf_counter()


def _main(_: list[str]) -> None:
  workload = workloads.WORKLOADS[_MODEL.value]
  method = workloads.METHODS[_METHOD.value]
  data = workload.data()
  begin = time.perf_counter()
  model = workloads.model_of(workload, method, _STEPS, jit_compile=False)
  first = _FirstStep()
  model.fit(
    data,
    epochs=workloads.EPOCHS,
    steps_per_epoch=_STEPS,
    callbacks=[*method.callbacks(), first],
    verbose=0,
  )
  assert first.time is not None
  wrapped = sum(
    kernel.values.size
    for kernel in inspection.read_kernels(model)
    if kernel.mask is not None
  )
  print(
    json.dumps(
      {
        'first_step': first.time - begin,
        'peak_bytes': memory.peak(),
        'wrapped_bytes': 4 * wrapped,
      }
    )
  )


if __name__ == '__main__':
  app.run(_main)
