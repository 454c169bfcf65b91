"""Times calls of SavedModels and TFLite files in turn, with some threads.

`recipes.costs.latency` runs it once for each number of threads, since
TensorFlow takes theirs from the process. It prints one line of JSON: for each
batch size, for each file, the least seconds of a call in each part of the run,
`null` for a file that does not take the batch size.
"""

import json
import sys

import tensorflow as tf
from absl import app, flags

from recipes.costs import file_calls

_FILES = flags.DEFINE_list('files', None, 'SavedModels and TFLite files.')
_THREADS = flags.DEFINE_integer('threads', 1, 'Threads of a call.', 1)
_BATCHES = flags.DEFINE_list('batches', '1', 'Batch sizes.')
_CALLS = flags.DEFINE_integer('calls', 60, 'Timed calls of each file.', 5)


def _main(_: list[str]) -> str | None:
  tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  batches = [int(batch) for batch in _BATCHES.value]
  try:
    found = file_calls.measure(
      _FILES.value, batches, _THREADS.value, _CALLS.value
    )
  except (OSError, ValueError) as error:  # Damaged files, open shapes.
    return f'error: {str(error).strip().splitlines()[0]}'
  print(json.dumps(found))
  return None


if __name__ == '__main__':
  app.run(lambda argv: sys.exit(_main(argv)))
