"""A worker of a search: forwards the calls of its tuner to the chief."""

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
  CHIEF_PATIENCE,
  PROCESS_KEY,
  WORKER_KEY,
  address,
)
from tf_unilth.tuner.oracles import IDLE, STOPPED, TicketOracle

# The chief may start after its workers. By default gRPC retries a connection
# after one second, and then at intervals of up to two minutes. (Its option for
# the minimum backoff also limits the time to connect, so it stays.)
_RECONNECT = (
  ('grpc.initial_reconnect_backoff_ms', 100),
  ('grpc.max_reconnect_backoff_ms', 1000),
)


class Client(oracle_client.OracleClient):
  """The oracle of a worker, which calls the chief's oracle.

  Args:
    oracle: local oracle, for the attributes that need no call.
    timeout: longest time between two calls of a worker, in seconds.
  """

  def __init__(self, oracle: TicketOracle, timeout: float):
    super().__init__(oracle)
    self._timeout = timeout
    self._caller = _Caller(self.tuner_id, timeout)
    channel = grpc.insecure_channel(address(), _RECONNECT)
    channel = grpc.intercept_channel(channel, self._caller)
    self.stub = protos.get_service_grpc().OracleStub(channel)

  def create_trial(self, tuner_id: str) -> Any:
    """Returns the next trial; waits until there is one or the search ends."""
    trial = super().create_trial(tuner_id)
    while trial.status == IDLE:
      time.sleep(min(1.0, self._timeout / CALLS_PER_TIMEOUT))
      trial = super().create_trial(tuner_id)
    if trial.status == STOPPED:
      self._caller.close()
    return trial

  @contextlib.contextmanager
  def calling(self) -> Iterator[None]:
    """Calls the chief regularly from a thread, so that it knows the worker.

    Raises:
      RuntimeError: the chief does not answer, or rejects the worker.
    """
    stop = threading.Event()

    def call_regularly() -> None:
      while not stop.wait(self._timeout / CALLS_PER_TIMEOUT):
        # If the chief is lost, the tuner's next call raises.
        with contextlib.suppress(grpc.RpcError):
          self._caller.call_if_open(self.get_space)

    thread = threading.Thread(target=call_regularly, daemon=True)
    try:
      self.get_space()
      self._caller.shorten_timeout()
      thread.start()
      yield
    except grpc.RpcError as error:
      raise RuntimeError(
        f'{self.tuner_id!r} cannot go on, because its call to the chief at '
        f'{address()} failed: {error.details()}'
      ) from None
    finally:
      stop.set()


class _Caller(grpc.UnaryUnaryClientInterceptor):
  """Adds the caller's name and a timeout to each call.

  Args:
    worker: keras-tuner's id of this process.
    timeout: longest time between two calls of a worker, in seconds.
  """

  def __init__(self, worker: str, timeout: float):
    self._metadata = (
      (WORKER_KEY, worker),
      (PROCESS_KEY, uuid.uuid4().hex),
    )
    # The first call waits for the chief to start.
    self._call_timeout = 2 * CHIEF_PATIENCE * timeout
    self._timeout = timeout
    self._is_open = True
    self._lock = threading.Lock()

  def shorten_timeout(self) -> None:
    """Sets the timeout for a chief that has answered."""
    self._call_timeout = self._timeout

  def close(self) -> None:
    """Ends the regular calls: the chief has no trials left and may exit."""
    with self._lock:
      self._is_open = False

  def call_if_open(self, call: Callable[[], Any]) -> None:
    """Runs `call`, unless the chief may have exited."""
    with self._lock:
      if self._is_open:
        call()

  def intercept_unary_unary(
    self, continuation: Any, details: Any, request: Any
  ) -> Any:
    """Makes a call with the metadata and the timeout."""
    changed = _CallDetails(details, self._metadata, self._call_timeout)
    return continuation(changed, request)


class _CallDetails(grpc.ClientCallDetails):
  """Details of a call, with other metadata and another timeout."""

  def __init__(self, details: Any, metadata: Any, timeout: float):
    self.method, self.credentials = details.method, details.credentials
    self.metadata, self.timeout = metadata, timeout
    self.wait_for_ready = True
    self.compression = getattr(details, 'compression', None)
