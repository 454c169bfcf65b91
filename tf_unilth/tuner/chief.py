"""The chief of a search: serves trials to workers, and detects dead workers."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from tf_unilth.tuner.machines import (
  CHIEF_PATIENCE,
  PROCESS_KEY,
  WORKER_KEY,
  address,
)
from tf_unilth.tuner.oracles import TicketOracle

_POLL_SECONDS = 0.2


class _Servicer(oracle_chief.OracleServicer):
  """Answers the calls of workers, and records when they call.

  Args:
    oracle: oracle of the chief.
  """

  def __init__(self, oracle: TicketOracle):
    super().__init__(oracle)
    self.failure: BaseException | None = None
    self.last_call = time.monotonic()
    self._lock = threading.Lock()
    # By worker: the id of its process, and the time of its last call.
    self._workers: dict[str, tuple[str, float]] = {}
    self._replaced: set[str] = set()

  def record_call(self, worker: str, process: str) -> bool:
    """Records a call; returns whether to answer it."""
    with self._lock:
      known, _ = self._workers.get(worker, (process, 0))
      if process in self._replaced:
        return False
      if known != process:
        # A restarted worker has the same name in another process.
        self._replaced.add(known)
      self.last_call = time.monotonic()
      self._workers[worker] = process, self.last_call
      return True

  def remove_dead(self, timeout: float) -> list[str]:
    """Removes and returns the workers without a call in `timeout` seconds."""
    with self._lock:
      limit = time.monotonic() - timeout
      dead = [w for w, (_, called) in self._workers.items() if called < limit]
      for worker in dead:
        del self._workers[worker]
      return dead

  @property
  def is_finished(self) -> bool:
    """Whether all trials are done, and each worker knows it or is dead."""
    oracle = self.oracle
    return (self.stop_triggered or oracle.is_complete) and not (
      oracle.ongoing_trials or oracle.tuner_ids
    )

  def CreateTrial(self, request: Any, context: Any) -> Any:
    """Returns the next trial."""
    with self._recording_failure():
      return super().CreateTrial(request, context)

  def UpdateTrial(self, request: Any, context: Any) -> Any:
    """Records metrics, unless another worker now has the trial."""
    if not self._is_owner(request.trial_id, context):
      trial = self.oracle.get_trial(request.trial_id)
      return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())
    with self._recording_failure():
      return super().UpdateTrial(request, context)

  def EndTrial(self, request: Any, context: Any) -> Any:
    """Ends a trial, unless another worker now has it."""
    if not self._is_owner(request.trial.trial_id, context):
      return protos.get_service().EndTrialResponse()
    with self._recording_failure():
      return super().EndTrial(request, context)

  def _is_owner(self, trial_id: str, context: Any) -> bool:
    """Returns whether the trial belongs to the caller."""
    worker = dict(context.invocation_metadata())[WORKER_KEY]
    trial = self.oracle.ongoing_trials.get(worker)
    return trial is not None and trial.trial_id == trial_id

  @contextlib.contextmanager
  def _recording_failure(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      self.failure = error
      raise


class _CallRecorder(grpc.ServerInterceptor):
  """Reports the caller of each call to the servicer.

  Args:
    servicer: servicer of the chief.
  """

  def __init__(self, servicer: _Servicer):
    self._servicer = servicer

  def intercept_service(self, continuation: Any, details: Any) -> Any:
    """Returns the handler of a call."""
    metadata = dict(details.invocation_metadata)
    worker = metadata.get(WORKER_KEY, '')
    process = metadata.get(PROCESS_KEY, '')
    if self._servicer.record_call(worker, process):
      return continuation(details)

    def refuse(request: Any, context: Any) -> None:
      context.abort(
        grpc.StatusCode.ALREADY_EXISTS,
        f'a newer process has the name {worker!r}.',
      )

    return grpc.unary_unary_rpc_method_handler(refuse)


def serve(
  oracle: TicketOracle, timeout: float, log: Callable[[str], None]
) -> None:
  """Serves the trials of a search to workers, until all are done.

  Args:
    oracle: proposes the trials.
    timeout: seconds without a call after which a worker is dead.
    log: called with a line when a worker has died.

  Raises:
    OSError: the chief cannot listen at its address.
    RuntimeError: no worker calls.
  """
  if oracle.is_complete:
    return
  servicer = _Servicer(oracle)
  server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=1),
    interceptors=[_CallRecorder(servicer)],
  )
  protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
  try:
    server.add_insecure_port(address())
  except RuntimeError:
    raise OSError(
      f'the chief cannot listen at {address()}: another machine has the '
      'address, or another process has the port.'
    ) from None
  server.start()
  try:
    _watch(servicer, timeout, log)
  finally:
    server.stop(timeout).wait()


def _watch(
  servicer: _Servicer, timeout: float, log: Callable[[str], None]
) -> None:
  """Waits until all trials are done; gives trials of dead workers away."""
  while not servicer.is_finished:
    time.sleep(_POLL_SECONDS)
    if servicer.failure is not None:
      raise servicer.failure
    for worker in servicer.remove_dead(timeout):
      trial = servicer.oracle.abandon_worker(worker)
      line = f'{worker} has not called for {timeout:g} s'
      if trial is not None:
        line += f': its trial {trial.trial_id} goes to another worker'
      log(line)
    silent = time.monotonic() - servicer.last_call
    if silent > CHIEF_PATIENCE * timeout:
      done, known = len(servicer.oracle.end_order), servicer.oracle.trials
      raise RuntimeError(
        f'no worker has called the chief at {address()} for '
        f'{CHIEF_PATIENCE * timeout:g} s: all have died, or none was started '
        f'(trials done: {done} of {len(known)} begun). Start chief and workers '
        'again to resume the search.'
      )
