"""What pruning costs: steps, events and memory, beside the dense model.

  python -m recipes.overhead --output=overhead
  python -m recipes.overhead --models=lenet --jit_compile

The dense model, tfmot's wrapper with PolynomialDecay and each of our algorithms
train in turns in one process, block by block of steps, so that a ratio compares
what ran side by side; `recipes.contenders` says what they are. Printed are
medians, and the first and third quartile of the ratios. Every step is timed
under a callback that counts steps, so that the dense model has one too. For the
masks of a large model beside tfmot's see `recipes.mask_cost`.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags

from recipes import (
  contenders,
  event_time,
  overhead_report,
  run_directory,
  step_time,
)
from recipes.contenders import DENSE, METHODS, WORKLOADS

_MODELS = flags.DEFINE_list('models', list(WORKLOADS), 'Of which models.')
_METHODS = flags.DEFINE_list('methods', list(METHODS)[1:], 'Beside the dense.')
_REPEATS = flags.DEFINE_integer('repeats', 10, 'Blocks timed per epoch.', 2)
_FOOTPRINTS = flags.DEFINE_integer(
  'footprints', 3, 'Processes per method for memory and first step; 0: none.', 0
)
_JIT_COMPILE = flags.DEFINE_bool('jit_compile', False, 'Compile with XLA.')
_OUTPUT = flags.DEFINE_string('output', None, 'Where to write .json and .png.')
# What is timed by itself, for those that differ in it.
_FOOTPRINT_OF = (DENSE, 'tfmot', 'UniLTH')

Row = dict[str, Any]


def measure(name: str, methods: Sequence[str], repeats: int) -> Row:
  """Returns all times of one of `WORKLOADS`, in seconds.

  Args:
    name: of the workload.
    methods: names in `METHODS`.
    repeats: how many blocks of each epoch are timed.
  """
  workload = WORKLOADS[name]
  per_epoch = step_time.steps_per_epoch(workload.block, repeats)
  fits = {
    method: step_time.Fit(
      contenders.model_of(
        workload, METHODS[method], per_epoch, _JIT_COMPILE.value
      ),
      METHODS[method].callbacks(),
      workload.data(),
    )
    for method in [DENSE, *methods]
  }
  found: Row = {'steps': _steps(workload, fits, repeats)}
  for kind in ('evaluate', 'predict'):
    found[kind] = _passes(kind, fits, workload.block, 3 * repeats)
  ours = next((m for m in ('UniLTH', 'UniDLTH', 'LTH') if m in fits), None)
  if ours:
    found['events'] = event_time.measure(fits[ours].model, repeats)
  return found


def _steps(workload: Any, fits: dict[str, Any], repeats: int) -> list[Row]:
  seconds = step_time.interleaved(
    fits, contenders.EPOCHS, workload.block, repeats
  )
  return [
    _row(times, dense, method=method, stage=stage)
    for method in fits
    for stage, times, dense in zip(
      METHODS[method].stages, seconds[method], seconds[DENSE]
    )
  ]


def _passes(
  kind: str, fits: dict[str, Any], steps: int, repeats: int
) -> list[Row]:
  def passing(fit: Any) -> Any:
    return lambda: getattr(fit.model, kind)(fit.data, steps=steps, verbose=0)

  seconds = step_time.alternating(
    {method: passing(fit) for method, fit in fits.items()}, repeats
  )
  return [
    _row([t / steps for t in times], [t / steps for t in seconds[DENSE]], m)
    for m, times in seconds.items()
  ]


def _row(
  times: Sequence[float], dense: Sequence[float], method: str, stage: str = ''
) -> Row:
  ratios = [a / b for a, b in zip(times, dense, strict=True)]
  return {
    'method': method,
    'stage': stage,
    'seconds': list(times),
    'ratios': ratios,
  }


def footprints(model: str, methods: Sequence[str], count: int) -> list[Row]:
  """Returns what each method takes, each time in a process of its own."""
  rows = []
  for _ in range(count):
    for method in methods:
      command = [sys.executable, '-m', 'recipes.footprint']
      result = subprocess.run(
        [*command, f'--model={model}', f'--method={method}'],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
      )
      line = result.stdout.strip().splitlines()[-1]
      rows.append({'method': method, **json.loads(line)})
  return rows


def _check() -> None:
  for flag, known in ((_MODELS, WORKLOADS), (_METHODS, METHODS)):
    for name in flag.value:
      if name not in known or name == DENSE:
        names = ', '.join(n for n in known if n != DENSE)
        raise ValueError(f'--{flag.name} must be of {names}, but has {name!r}.')


def _main(_: list[str]) -> str | None:
  try:
    _check()
  except ValueError as error:
    return f'error: {error}'
  devices = [d.name for d in tf.config.list_logical_devices()]
  content: Row = {
    'versions': run_directory.versions(),
    'devices': devices,
    'jit_compile': _JIT_COMPILE.value,
    'models': {},
  }
  for model in _MODELS.value:
    found = measure(model, _METHODS.value, _REPEATS.value)
    chosen = [m for m in _FOOTPRINT_OF if m in (DENSE, *_METHODS.value)]
    found['footprints'] = footprints(model, chosen, _FOOTPRINTS.value)
    content['models'][model] = found
    print(overhead_report.table(model, found), flush=True)
    if _OUTPUT.value:  # After each, so that a run cut short keeps its models.
      path = pathlib.Path(_OUTPUT.value)
      run_directory.write_json(path.with_suffix('.json'), content)
      overhead_report.plot(path.with_suffix('.png'), content['models'])
  return None


if __name__ == '__main__':
  app.run(lambda argv: sys.exit(_main(argv)))
