"""One search on many machines: who this process is, and how the others talk.

They talk as keras-tuner's own chief and workers do. Beyond that each call says
who makes it, and a worker calls every now and then while it trains. So the
chief knows which workers live: it gives the trial of a dead one to another, and
ends with an error when there is none left.
"""

import os

_IP = 'KERASTUNER_ORACLE_IP'
_PORT = 'KERASTUNER_ORACLE_PORT'
_ID = 'KERASTUNER_TUNER_ID'
ALONE, CHIEF, WORKER = 'alone', 'chief', 'worker'
# What a call says of who makes it.
WORKER_KEY, PROCESS_KEY = 'worker', 'process'
# A worker calls so often that it is heard of even if some calls are lost.
CALLS_PER_TIMEOUT = 6
# In timeouts: how long the chief waits for any worker. Programs start, and
# read data, before they call.
PATIENCE = 5


def role() -> str:
  """Returns what keras-tuner's environment variables make of this process.

  Raises:
    ValueError: some of them are set and others are not.
  """
  if _IP not in os.environ:
    return ALONE
  for name in (_ID, _PORT):
    if not os.environ.get(name):
      raise ValueError(f'{_IP} is set, and {name} must be set with it.')
  return CHIEF if 'chief' in os.environ[_ID] else WORKER


def address() -> str:
  """Returns where the chief is called."""
  return f'{os.environ[_IP]}:{os.environ[_PORT]}'
