"""Times files, in one process per number of threads."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from recipes.costs import latency_report
from recipes.costs.latency_files import TimedFile


def measure(
  timed: Sequence[TimedFile],
  threads: Sequence[int],
  batches: Sequence[int],
  calls: int,
) -> list[dict[str, Any]]:
  """Returns a row per file: what it is, and the times of its calls.

  Args:
    timed: the files, called in turn.
    threads: numbers of threads, each in a process of its own.
    batches: batch sizes.
    calls: how often each file is timed in each setting.
  """
  rows: list[dict[str, Any]] = [
    {**dataclasses.asdict(file), 'seconds': {}} for file in timed
  ]
  for number in threads:
    found = _in_process([file.path for file in timed], number, batches, calls)
    for batch, by_path in found.items():
      setting = latency_report.setting_name(number, batch)
      for row in rows:
        row['seconds'][setting] = by_path[row['path']]
  return rows


def _in_process(
  paths: Sequence[str], threads: int, batches: Sequence[int], calls: int
) -> dict[str, dict[str, list[float] | None]]:
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'recipes.costs.latency_times'),
      f'--files={",".join(paths)}',
      f'--batches={",".join(map(str, batches))}',
      f'--threads={threads}',
      f'--calls={calls}',
    ],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
    env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
  )
  return json.loads(result.stdout.strip().splitlines()[-1])
