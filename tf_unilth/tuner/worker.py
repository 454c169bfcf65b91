"""A worker's side of a search: the chief's oracle, over the network."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client

from tf_unilth.tuner.machines import (
  CALLS_PER_TIMEOUT,
  PATIENCE,
  PROCESS_KEY,
  WORKER_KEY,
  address,
)
from tf_unilth.tuner.oracles import IDLE, STOPPED, TicketOracle

# The chief may begin after its workers: gRPC by itself looks again after a
# second, and then ever more seldom, up to two minutes. (What it calls the least
# backoff is how long a connection may take to be made, and stays.)
_RECONNECT = (
  ('grpc.initial_reconnect_backoff_ms', 100),
  ('grpc.max_reconnect_backoff_ms', 1000),
)


class Client(oracle_client.OracleClient):
  """A worker's oracle: the chief's, over the network.

  Args:
    oracle: what the worker knows without the chief.
    timeout: seconds between two words from a worker, at most.
  """

  def __init__(self, oracle: TicketOracle, timeout: float):
    super().__init__(oracle)
    self._timeout = timeout
    self._caller = _Caller(self.tuner_id, timeout)
    channel = grpc.insecure_channel(address(), _RECONNECT)
    channel = grpc.intercept_channel(channel, self._caller)
    self.stub = protos.get_service_grpc().OracleStub(channel)

  def create_trial(self, tuner_id: str) -> Any:
    """Returns the next trial; waits while there is none for now."""
    trial = super().create_trial(tuner_id)
    while trial.status == IDLE:
      time.sleep(min(1.0, self._timeout / CALLS_PER_TIMEOUT))
      trial = super().create_trial(tuner_id)
    if trial.status == STOPPED:
      self._caller.leave()
    return trial

  @contextlib.contextmanager
  def calling(self) -> Iterator[None]:
    """Lets the chief know for a while that this worker lives.

    Raises:
      RuntimeError: the chief does not answer, or has refused.
    """
    over = threading.Event()

    def call() -> None:
      while not over.wait(self._timeout / CALLS_PER_TIMEOUT):
        # The next call that matters will say what is wrong.
        with contextlib.suppress(grpc.RpcError):
          self._caller.while_open(self.get_space)

    thread = threading.Thread(target=call, daemon=True)
    try:
      self.get_space()
      self._caller.answered()
      thread.start()
      yield
    except grpc.RpcError as error:
      raise RuntimeError(
        f'the chief at {address()} does not go on with {self.tuner_id!r}: '
        f'{error.details()}'
      ) from None
    finally:
      over.set()


class _Caller(grpc.UnaryUnaryClientInterceptor):
  """Says in each call who calls, and does not wait for ever.

  Args:
    worker: keras-tuner's id of this process.
    timeout: seconds between two words from a worker, at most.
  """

  def __init__(self, worker: str, timeout: float):
    self._metadata = (
      (WORKER_KEY, worker),
      (PROCESS_KEY, uuid.uuid4().hex),
    )
    self._wait = 2 * PATIENCE * timeout
    self._timeout = timeout
    self._open = True
    self._lock = threading.Lock()

  def answered(self) -> None:
    """Takes note that the chief is there."""
    self._wait = self._timeout

  def leave(self) -> None:
    """Takes note that the chief has no more trials, and may go."""
    with self._lock:
      self._open = False

  def while_open(self, call: Callable[[], Any]) -> None:
    """Makes a call, unless the chief may have gone."""
    with self._lock:
      if self._open:
        call()

  def intercept_unary_unary(
    self, continuation: Any, details: Any, request: Any
  ) -> Any:
    """Makes a call."""
    changed = _Details(details, self._metadata, self._wait)
    return continuation(changed, request)


class _Details(grpc.ClientCallDetails):
  """What a call is made with."""

  def __init__(self, details: Any, metadata: Any, timeout: float):
    self.method, self.credentials = details.method, details.credentials
    self.metadata, self.timeout = metadata, timeout
    self.wait_for_ready = True
    self.compression = getattr(details, 'compression', None)
