"""CPU time of `import tf_unilth`, beside Python's start and tf_keras.

  python -m recipes.costs.import_time
  python -m recipes.costs.import_time --processes=20 --output=import.json

Each is timed in a process of its own, in turn; the first of each is not
counted, since it reads files that the later ones find in memory. CPU time does
not depend on what else the machine does.
"""

import os
import resource
import statistics
import subprocess
import sys

from absl import app, flags

from recipes.costs import result_file

_PROCESSES = flags.DEFINE_integer(
  'processes', 10, 'How often each is timed, after one uncounted.', 1
)

_PROGRAMS = {
  'python': 'pass',
  'tf_unilth': 'import tf_unilth',
  'tf_keras': 'import tf_keras',
}


def measure(repeats: int) -> dict[str, list[float]]:
  """Returns the CPU seconds of a process that imports each, in turn.

  Args:
    repeats: how often each is timed, after once uncounted.
  """
  environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
  seconds: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
  for repeat in range(repeats + 1):
    for name, program in _PROGRAMS.items():
      command = [sys.executable, '-c', program]
      begin = _children()
      subprocess.run(command, check=True, env=environment, capture_output=True)
      if repeat:
        seconds[name].append(_children() - begin)
  return seconds


def _children() -> float:
  """Returns the CPU seconds of all processes that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def _main(_: list[str]) -> None:
  seconds = measure(_PROCESSES.value)
  print(f'{"":12}{"median":>10}{"fastest":>10}{"slowest":>10}')
  for name, times in seconds.items():
    found = statistics.median(times), min(times), max(times)
    print(f'{name:12}' + ''.join(f'{value:8.3f} s' for value in found))
  result_file.write(result_file.OUTPUT.value, seconds=seconds)


if __name__ == '__main__':
  app.run(_main)
