"""Measures the times that `recipes.costs.overhead` reports."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from recipes.costs import event_times, step_times, workloads
from recipes.costs.workloads import DENSE, METHODS, WORKLOADS

Row = dict[str, Any]
# Least number of batches per evaluation, so that its start counts little.
_LEAST_PASS = 20


def measure(
  name: str, methods: Sequence[str], repeats: int, jit_compile: bool = False
) -> Row:
  """Returns all times of one of `WORKLOADS`, in seconds.

  Args:
    name: of the workload.
    methods: names in `METHODS`.
    repeats: how many blocks of each epoch are timed.
    jit_compile: whether XLA compiles the steps.
  """
  workload = WORKLOADS[name]
  per_epoch = step_times.steps_per_epoch(workload.block, repeats)
  fits = {
    method: step_times.Fit(
      workloads.model_of(workload, METHODS[method], per_epoch, jit_compile),
      METHODS[method].callbacks(),
      workload.data(),
    )
    for method in [DENSE, *methods]
  }
  found: Row = {'steps': _steps(workload, fits, repeats)}
  for kind in ('evaluate', 'predict'):
    found[kind] = _passes(kind, fits, max(workload.block, _LEAST_PASS), repeats)
  ours = next((m for m in ('UniLTH', 'UniDLTH', 'LTH') if m in fits), None)
  if ours:
    found['events'] = event_times.measure(fits[ours].model, repeats)
  return found


def _steps(workload: Any, fits: dict[str, Any], repeats: int) -> list[Row]:
  seconds = step_times.interleaved(
    fits, workloads.EPOCHS, workload.block, repeats
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

  seconds = step_times.alternating(
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
  """Returns memory and first step of each method, from separate processes."""
  rows = []
  for _ in range(count):
    for method in methods:
      command = [sys.executable, '-m', 'recipes.costs.footprint']
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
