"""The chief of a search: hands out trials, and knows which workers live."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from tf_unilth.tuner.machines import PATIENCE, PROCESS_KEY, WORKER_KEY, address
from tf_unilth.tuner.oracles import TicketOracle

_POLL = 0.2


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
    worker = dict(context.invocation_metadata())[WORKER_KEY]
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
    worker, process = (
      given.get(WORKER_KEY, ''),
      given.get(PROCESS_KEY, ''),
    )
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
    server.add_insecure_port(address())
  except RuntimeError:
    raise OSError(
      f'the chief cannot listen at {address()}: the address is not of this '
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
      trial = servicer.oracle.abandon_worker(worker)
      said = f'{worker} has not been heard of for {timeout:g} s'
      if trial is not None:
        said += f': its trial {trial.trial_id} is run by another'
      say(said)
    silent = time.monotonic() - servicer.last_call
    if silent > PATIENCE * timeout:
      done, known = len(servicer.oracle.end_order), servicer.oracle.trials
      raise RuntimeError(
        f'no worker has called the chief at {address()} for '
        f'{PATIENCE * timeout:g} s: all have died, or none was started. '
        f'trials done: {done} of {len(known)} begun; start chief and workers '
        'again, and the search goes on.'
      )
