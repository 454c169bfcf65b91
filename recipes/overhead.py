"""What pruning costs: steps, evaluation, memory, masks, against the dense model.

  python -m recipes.overhead --models=lenet,resnet20 --output=overhead
  python -m recipes.overhead --models=lenet --jit_compile

The dense model, tfmot's wrapper with PolynomialDecay and each of our algorithms
train in turns in one process, block by block of steps, so that a ratio compares
what ran side by side. Printed are medians with the first and third quartile.
"""

import itertools
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags

from recipes import contenders, report, step_time
from recipes.contenders import DENSE, METHODS, WORKLOADS

_MODELS = flags.DEFINE_list('models', ['lenet', 'resnet20'], 'Of which models.')
_METHODS = flags.DEFINE_list('methods', list(METHODS)[1:], 'Beside the dense.')
_REPEATS = flags.DEFINE_integer('repeats', 10, 'Blocks timed per epoch.', 2)
_JIT_COMPILE = flags.DEFINE_bool('jit_compile', False, 'Compile with XLA.')
_OUTPUT = flags.DEFINE_string('output', None, 'Where to write .json and .png.')


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
  first, median, third = statistics.quantiles(values, n=4, method='inclusive')
  return first, median, third


def steps(name: str) -> dict[str, Any]:
  """Returns the times of steps and evaluations of one of `WORKLOADS`."""
  workload = WORKLOADS[name]
  repeats, block = _REPEATS.value, workload.block
  per_epoch = step_time.steps_per_epoch(block, repeats)
  methods = {m: METHODS[m] for m in [DENSE, *_METHODS.value]}
  fits = {
    method_name: step_time.Fit(
      contenders.model_of(workload, method, per_epoch, _JIT_COMPILE.value),
      method.callbacks(),
      workload.data(),
    )
    for method_name, method in methods.items()
  }
  seconds = step_time.interleaved(fits, contenders.EPOCHS, block, repeats)
  return {
    'step': [
      {
        'method': m,
        'stage': stage,
        'epoch': epoch,
        'seconds': times,
        'ratios': [a / b for a, b in zip(times, dense)],
      }
      for m, method in methods.items()
      for epoch, (stage, times, dense) in enumerate(
        zip(method.stages, seconds[m], seconds[DENSE])
      )
    ],
  } | {kind: _passes(kind, fits, workload) for kind in ('evaluate', 'predict')}


def _passes(kind: str, fits: Any, workload: Any) -> list[dict[str, Any]]:
  def call(fit: Any) -> Any:
    return lambda: getattr(fit.model, kind)(
      fit.data, steps=workload.block, verbose=0
    )

  seconds = step_time.alternating(
    {name: call(fit) for name, fit in fits.items()}, 3 * _REPEATS.value
  )
  return [
    {
      'method': name,
      'seconds': [t / workload.block for t in times],
      'ratios': [a / b for a, b in zip(times, seconds[DENSE])],
    }
    for name, times in seconds.items()
  ]


def _main(_: list[str]) -> None:
  result = {}
  for name in _MODELS.value:
    result[name] = found = steps(name)
    print(name)
    for method, rows in itertools.groupby(found['step'], lambda r: r['method']):
      for stage, same in itertools.groupby(rows, lambda r: r['stage']):
        same = list(same)
        ratios = [x for r in same for x in r['ratios']]
        ms = [1e3 * x for r in same for x in r['seconds']]
        a, b, c = _quartiles(ratios)
        print(
          f'  {method:24}{stage:12}{statistics.median(ms):9.3f} ms  {b:.3f} ({a:.3f} to {c:.3f})'
        )
    for kind in ('evaluate', 'predict'):
      for r in found[kind]:
        a, b, c = _quartiles(r['ratios'])
        print(
          f'  {kind:9}{r["method"]:24}{1e3 * statistics.median(r["seconds"]):9.3f} ms  {b:.3f} ({a:.3f} to {c:.3f})'
        )


if __name__ == '__main__':
  app.run(_main)
