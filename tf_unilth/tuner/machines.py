"""The role of this process in a search with a chief and workers.

The processes use the protocol of keras-tuner's chief and workers. In addition,
each call names its caller, and a worker calls regularly while it trains. So the
chief knows which workers are alive: it gives the trial of a dead worker to
another one, and ends with an error when no worker is left.
"""

import os

_IP = 'KERASTUNER_ORACLE_IP'
_PORT = 'KERASTUNER_ORACLE_PORT'
_ID = 'KERASTUNER_TUNER_ID'
ALONE, CHIEF, WORKER = 'alone', 'chief', 'worker'
# Metadata of a call: the worker's id, and a random id of its process.
WORKER_KEY, PROCESS_KEY = 'worker', 'process'
# A worker calls this often per `worker_timeout`: some calls may be lost.
CALLS_PER_TIMEOUT = 6
# The chief waits this many times `worker_timeout` for a call of any worker,
# since programs start and read data before their first call.
CHIEF_PATIENCE = 5


def role() -> str:
  """Returns `'alone'`, `'chief'` or `'worker'`, from environment variables.

  Raises:
    ValueError: only some of keras-tuner's variables are set.
  """
  if _IP not in os.environ:
    return ALONE
  for name in (_ID, _PORT):
    if not os.environ.get(name):
      raise ValueError(f'{name} must be set, because {_IP} is set.')
  return CHIEF if 'chief' in os.environ[_ID] else WORKER


def address() -> str:
  """Returns the chief's address, as host:port."""
  return f'{os.environ[_IP]}:{os.environ[_PORT]}'
