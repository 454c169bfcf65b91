"""One search on many machines: keras-tuner's chief and workers.

They talk as keras-tuner's own do. Beyond that each call says who makes it, and
a worker calls every now and then while it trains. So the chief knows which
workers live: it gives the trial of a dead one to another, and ends with an
error when there is none left.
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief, oracle_client

from tf_unilth.tuner.oracles import IDLE, STOPPED, TicketOracle

_ID, _IP, _PORT = (
  f'KERASTUNER_{name}' for name in ('TUNER_ID', 'ORACLE_IP', 'ORACLE_PORT')
)
ALONE, CHIEF, WORKER = 'alone', 'chief', 'worker'
# A worker calls so often that it is heard of even if some calls are lost.
_CALLS = 6
# How long the chief waits for any worker, and a worker for the chief's first
# answer: programs start, and read data, before they call.
PATIENCE = 5
_WORKER, _PROCESS = 'worker', 'process'
_POLL = 0.2


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


def _address() -> str:
  return f'{os.environ[_IP]}:{os.environ[_PORT]}'


class _Servicer(oracle_chief.OracleServicer):
  """Answers calls, and knows which workers live.

  Args:
    oracle: the chief's.
  """

  def __init__(self, oracle: TicketOracle):
    super().__init__(oracle)
    self.failure: BaseException | None = None
    self.last_call = time.monotonic()
    self._lock = threading.Lock()
    # By worker: which process it is, and when it was last heard of.
    self._workers: dict[str, tuple[str, float]] = {}
    self._replaced: set[str] = set()

  def hear(self, worker: str, process: str) -> bool:
    """Takes note of a call; returns whether it is to be answered."""
    with self._lock:
      known, _ = self._workers.get(worker, (process, 0))
      if process in self._replaced:
        return False
      if known != process:
        self._replaced.add(known)  # As it is after a restart.
      self.last_call = time.monotonic()
      self._workers[worker] = process, self.last_call
      return True

  def dead(self, timeout: float) -> list[str]:
    """Returns, once, the workers that have not been heard of for so long."""
    with self._lock:
      before = time.monotonic() - timeout
      found = [w for w, (_, heard) in self._workers.items() if heard < before]
      for worker in found:
        del self._workers[worker]
      return found

  @property
  def is_over(self) -> bool:
    """Whether all trials are done, and all workers know or are dead."""
    oracle = self.oracle
    return (self.stop_triggered or oracle.is_complete) and not (
      oracle.ongoing_trials or oracle.tuner_ids
    )

  def CreateTrial(self, request: Any, context: Any) -> Any:
    """Returns the next trial."""
    with self._noting_failure():
      return super().CreateTrial(request, context)

  def UpdateTrial(self, request: Any, context: Any) -> Any:
    """Takes a result, unless the trial was given to another worker."""
    if not self._has(request.trial_id, context):
      trial = self.oracle.get_trial(request.trial_id)
      return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())
    with self._noting_failure():
      return super().UpdateTrial(request, context)

  def EndTrial(self, request: Any, context: Any) -> Any:
    """Ends a trial, unless it was given to another worker."""
    if not self._has(request.trial.trial_id, context):
      return protos.get_service().EndTrialResponse()
    with self._noting_failure():
      return super().EndTrial(request, context)

  def _has(self, trial_id: str, context: Any) -> bool:
    worker = dict(context.invocation_metadata())[_WORKER]
    trial = self.oracle.ongoing_trials.get(worker)
    return trial is not None and trial.trial_id == trial_id

  @contextlib.contextmanager
  def _noting_failure(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      self.failure = error
      raise


class _Register(grpc.ServerInterceptor):
  """Lets the chief know who calls.

  Args:
    servicer: the chief's.
  """

  def __init__(self, servicer: _Servicer):
    self._servicer = servicer

  def intercept_service(self, continuation: Any, details: Any) -> Any:
    """Returns what answers a call."""
    given = dict(details.invocation_metadata)
    worker, process = given.get(_WORKER, ''), given.get(_PROCESS, '')
    if self._servicer.hear(worker, process):
      return continuation(details)

    def refuse(request: Any, context: Any) -> None:
      context.abort(
        grpc.StatusCode.ALREADY_EXISTS,
        f'another process has come as {worker!r} after this one.',
      )

    return grpc.unary_unary_rpc_method_handler(refuse)


def serve(
  oracle: TicketOracle, timeout: float, say: Callable[[str], None]
) -> None:
  """Hands out the trials of a search to workers, until all are done.

  Args:
    oracle: proposes the trials.
    timeout: seconds after which a worker that is not heard of is dead.
    say: takes a line about a worker that has died.

  Raises:
    OSError: nothing can be heard at the address.
    RuntimeError: no worker has come, or all have died.
  """
  if oracle.is_complete:
    return
  servicer = _Servicer(oracle)
  server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=1),
    interceptors=[_Register(servicer)],
  )
  protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
  try:
    server.add_insecure_port(_address())
  except RuntimeError:
    raise OSError(
      f'the chief cannot listen at {_address()}: the address is not of this '
      'machine, or the port is taken.'
    ) from None
  server.start()
  try:
    _watch(servicer, timeout, say)
  finally:
    server.stop(timeout).wait()


def _watch(
  servicer: _Servicer, timeout: float, say: Callable[[str], None]
) -> None:
  while not servicer.is_over:
    time.sleep(_POLL)
    if servicer.failure is not None:
      raise servicer.failure
    for worker in servicer.dead(timeout):
      trial = servicer.oracle.give_up(worker)
      said = f'{worker} has not been heard of for {timeout:g} s'
      if trial is not None:
        said += f': its trial {trial.trial_id} is run by another'
      say(said)
    silent = time.monotonic() - servicer.last_call
    if silent > PATIENCE * timeout:
      done, known = len(servicer.oracle.end_order), servicer.oracle.trials
      raise RuntimeError(
        f'no worker has called the chief at {_address()} for '
        f'{PATIENCE * timeout:g} s: all have died, or none was started. '
        f'{done} of {len(known)} trials that were begun are done; start chief '
        'and workers again, and the search goes on.'
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
    channel = grpc.insecure_channel(_address())
    channel = grpc.intercept_channel(channel, self._caller)
    self.stub = protos.get_service_grpc().OracleStub(channel)

  def create_trial(self, tuner_id: str) -> Any:
    """Returns the next trial; waits while there is none for now."""
    trial = super().create_trial(tuner_id)
    while trial.status == IDLE:
      time.sleep(min(1.0, self._timeout / _CALLS))
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
      while not over.wait(self._timeout / _CALLS):
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
        f'the chief at {_address()} does not go on with {self.tuner_id!r}: '
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
    self._metadata = ((_WORKER, worker), (_PROCESS, uuid.uuid4().hex))
    # The chief may begin after its workers.
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
