"""The abstract ticket callback: stages, rounds, budget, logs and messages."""

import abc
import contextlib
import math
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.event_log import Messages
from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.argument_checks import check_float, check_option, format_value
from tf_unilth.engines.tfmot import (
  data_handler,
  fit_introspection,
  keras_3_errors,
  keras_access,
  optimizer_search,
  optimizer_traits,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.run_state import FINETUNING, PRUNING, RunState
from tf_unilth.engines.tfmot.snapshots import Snapshot
from tf_unilth.engines.tfmot.train_step import TrainStepHook, Watch, armed_hook
from tf_unilth.run import budget, continuation
from tf_unilth.run.timeline import Timeline
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.wording import count

_NEVER = sys.maxsize


class TicketCallback(keras.callbacks.Callback, abc.ABC):
  """What LTH, DLTH, UniLTH and UniDLTH share; those four are its final classes.

  It does what tfmot's `UpdatePruningStep` does, so one callback is enough. A
  final class says which scores rank the weights, what prepares and what
  follows a round, and how long things take. All that a resumed run needs is in
  the `RunState` of the model's schedule; what stands here is derived from it
  when the first epoch of a `fit` begins.

  Args:
    scores: which weights go.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: the share of stages 2 and 3 after the last round.
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.
  """

  # Keras need not wait for a step's metrics on behalf of our batch hook.
  _supports_tf_logs = True
  # Of schedules that leave the pace open.
  _pace = 'geometric'
  # The shrink exponent A per round of a ramp that leaves its limit open.
  _strength = 0.0
  # Whether to warn, beside the printed line, if not all rounds fit.
  _warns_of_fewer_rounds = False
  # Attributes that its constructor sets beside those set here.
  _settings: tuple[str, ...] = ()

  def __init__(
    self,
    scores: Scores,
    ramp: L2Ramp | None,
    finetune_fraction: float,
    verbose: int,
  ):
    super().__init__()
    if ramp is not None and not isinstance(ramp, L2Ramp):
      raise ValueError(
        f'ramp must be None or an L2Ramp, but is {format_value(ramp)}.'
      )
    self.verbose = verbose = check_option('verbose', verbose, (0, 1, 2))
    self._scores = scores
    self._ramp = ramp if ramp is not None and ramp.limit != 0 else None
    self._finetune_fraction = check_float(
      'finetune_fraction', finetune_fraction, '[0, 1]'
    )
    self._messages = Messages(type(self).__name__, verbose)
    self._hook: TrainStepHook | None = None
    self._rewind_weights: list[np.ndarray] | None = None
    self._callback_list: Any = None
    self._handler: Any = None
    self._run: Any = None  # A new object for each run.
    self._followed: Any = None  # The model's optimizer, where it is ours.
    self._first_iterations: int | None = None

  # What a final class decides.

  def _rounds_wanted(self) -> int:
    schedules = self._pruner.schedules
    needed = max(schedule.rounds_needed(self._pace) for schedule in schedules)
    return self._pruner.explicit_rounds or needed

  def _shortest_round(self) -> int:
    # Keras lets a callback act once per execution.
    per_execution = keras_access.steps_per_execution(self.model)
    return max(budget.MIN_ROUND_STEPS, per_execution)

  def _finetune_share(self, rounds: int) -> float:
    del rounds
    return self._finetune_fraction

  def _dense_epochs(self, epochs: int) -> int:
    """Returns after how many epochs round 1 begins at the latest."""
    del epochs
    return 0

  def _snapshots(self) -> int:
    """Returns how many snapshots the algorithm keeps at once."""
    return 0

  def _check_fit(self, fit: dict[str, Any]) -> None:
    """Raises if the `fit` around us lacks something."""

  @abc.abstractmethod
  def _on_run_begin(self) -> None:
    """Called before the first step of a run."""

  def _on_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
    """Called when `epoch` epochs are completed."""

  def _on_round_end(self) -> None:
    """Called when the masks of a round have been made."""

  def _on_finetuning(self) -> None:
    """Called when stage 3 begins."""

  def _next_event(self) -> int:
    """Returns the training step of the next event besides the rounds' ends."""
    return _NEVER

  def _on_event(self, step: int) -> None:
    """Called at the step that `_next_event` named."""

  # What a user can ask.

  @property
  def plateau_epoch(self) -> int | None:
    """The epoch, from 1, at whose end the plateau was reached, if it was."""
    return self._epoch('plateau_epoch')

  @property
  def rewound_to_epoch(self) -> int | None:
    """The epoch to whose end stage 1 was rewound (0: the start), if it was."""
    return self._epoch('rewound_to_epoch')

  @property
  def rounds(self) -> int:
    """How many rounds of pruning are completed."""
    return self._run_state().get('round')

  @property
  def sparsity(self) -> float:
    """The fraction of the wrapped weights that is pruned, in [0, 1)."""
    self._run_state()
    return self._pruner.zeros / self._pruner.total

  @property
  def reached_target(self) -> bool:
    """Whether the sparsity that was asked for is met."""
    self._run_state()
    return self._pruner.reached_target

  @property
  def seed(self) -> int | None:
    """What the ticket is drawn from, `None` if it is found."""
    return getattr(self._scores, 'seed', None)

  @property
  def rewind_weights(self) -> list[np.ndarray] | None:
    """The weights that `fit` has rewound to, before any of them was pruned.

    In the order of the model's weights before it was wrapped. `None` if it
    has not rewound weights in this process, or before it in the run that a
    `CheckpointAndResume` goes on with. They are what the snapshot held, kept on
    the host until another run begins or the callback goes; not to be written.
    With `pretrained=True` they are the weights that the model came with.
    """
    return self._rewind_weights

  def _epoch(self, name: str) -> int | None:
    epoch = self._run_state().get(name)
    return None if epoch < 0 else epoch

  def _run_state(self) -> RunState:
    state = getattr(self, '_state', None)
    if state is None:
      raise RuntimeError(
        f'{type(self).__name__} can tell nothing yet: pass it to fit first.'
      )
    return state

  def speak_as(self, name: str) -> None:
    """Lets its messages begin with another name than that of its class."""
    self._messages.speaker = name

  # What a training loop of the user's own calls in each step.

  def penalty(self) -> tf.Tensor:
    """Returns the ramped penalty, a scalar to add to the loss of a step.

    Only for a loop of your own; `fit` adds it by itself. Call it in the graph,
    inside of the gradient tape.
    """
    return self._hook.penalty() if self._hook else tf.constant(0.0)

  def after_step(self) -> None:
    """Holds the masks, after the optimizer of a step.

    Only for a loop of your own; `fit` does it by itself.
    """
    if self._hook:
      self._hook.after_step()

  # What `CheckpointAndResume` calls.

  @property
  def settings(self) -> dict[str, Any]:
    """What it was made with, in words; a run goes on with the same."""
    names = ('scores', 'ramp', 'finetune_fraction', *self._settings)
    return {name: repr(getattr(self, f'_{name}')) for name in names}

  def after_restore(self) -> None:
    """Takes note that a checkpoint was put into the model as `fit` began."""
    self._restored = True
    self._pruner.read()

  # Keras's hooks.

  def set_model(self, model: Any) -> None:
    """Takes the model; Keras 3 hands its own to callbacks of tf_keras too."""
    keras_3_errors.check_keras(model, 'model', keras.Model)
    keras_3_errors.check_callbacks_of_fit()
    super().set_model(model)

  def on_train_begin(self, logs: Any = None) -> None:
    fit = fit_introspection.fit_arguments(self.model)
    self._end_earlier_run()
    fit_checks.check_loop(getattr(self, 'params', None))
    fit_checks.check_compiled(self.model)
    self._callback_list = fit.get('callback_list')
    if fit:
      fit_checks.check_callbacks(self, fit['callbacks'], TicketCallback)
    self._layers = PrunedLayers(self.model)
    self._layers.check()
    unpruned_layers.remind(self.model)
    self._pruner = Pruner(self._layers, self._pace, self._scores.scope_of)
    self._inert = self._pruner.is_inert
    self._restored = not self._pruner.schedules[0].was_driven
    self._state = self._pruner.drive(self.model)
    self._layers.carry(self._state)
    self._timeline = Timeline(self._state, self._finetune_share)
    self._layers.begin_steps()
    self._begun = self._holding = self._is_running = self._ends_last = False
    self._due, self._batches, self._calls = _NEVER, 0, 0
    self._pruner.read()
    self._handler = fit.get('data_handler')
    prunes = not self._inert and not self.reached_target
    self._optimizer = optimizer_search.reachable(self.model)[0]
    if prunes:  # Else the masks are held, no more.
      self._optimizer = optimizer_search.training_optimizer(
        self.model, self._layers, self._handler
      )
      self._check_fit(fit)
    # An optimizer of the model's own is not compiled anew.
    is_compiled = self._optimizer is self.model.optimizer
    self._followed = self._optimizer if is_compiled else None
    if not self._inert:
      self._prepare()

  def _end_earlier_run(self) -> None:
    """Ends a run that died unseen; raises where one still goes on."""
    hook = armed_hook(self.model)
    if hook is None:
      return
    if not hook.watch.is_own_loop and hook.watch.is_alive():
      name = type(self).__name__
      raise ValueError(
        f'callbacks of a fit inside of a fit must be without {name}: the outer '
        'fit has a ticket callback, whose run goes on in the inner one.'
      )
    hook.detach()
    hook.watch.end()

  def _have_the_last_word(self) -> None:
    """Ends the run after all callbacks, which may write weights at the end.

    The list is exchanged, since Keras is going through it; a user may use it
    again.
    """
    callbacks = self._callback_list
    if callbacks is not None:
      last = _LastCallback(self._end)
      callbacks.callbacks = [*_without_last(callbacks.callbacks), last]
      self._ends_last = True

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self._messages.flush()
    if not self._begun:
      # BackupAndRestore, if there is one, has put the state back by now.
      self._begun = True
      with self._leaving_on_error():
        self._begin(epoch)
        self._have_the_last_word()
    else:
      # Other callbacks may have written weights and masks, as averaging does.
      self._hold_masks()
    self._epoch_begin, self._batches = self._timeline.step_at(epoch), 0

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._batches = batch + 1
    if self._handler is not None and self._hook is not None:
      self._check_armed(self._hook)
    if self._epoch_begin + batch + 1 >= self._due:
      with self._leaving_on_error():
        self._do_due(self._epoch_begin + batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    logs = {} if logs is None else logs
    with self._leaving_on_error():
      if self._hook is not None and self._hook.was_written():
        self._hold_masks()
      if not self._state.get('steps_per_epoch'):
        self._count_steps()
      if not self._inert:
        fit_checks.check_kernels(self._layers)
        fit_checks.check_finite(self.model, logs)
      if not self._inert and not self._holding:
        self._check_clock()
        self._on_epoch(epoch + 1, logs)
    self._state.set(next_epoch=epoch + 1, iterations=self._iterations())
    logs['sparsity'] = self.sparsity
    logs['stage'] = self._state.get('stage')
    logs['round'] = self._state.get('round')
    logs['l2_lambda'] = self._l2_lambda()

  def on_train_end(self, logs: Any = None) -> None:
    if not self._ends_last:
      self._end()
      return
    # Should another callback raise now, nothing of the run is left.
    if self._hook is not None:
      self._hook.detach()
    self._release_list()

  def _release_list(self) -> None:
    """Takes our last callback out; Keras still calls it, if it is about to."""
    callbacks, self._callback_list = self._callback_list, None
    if callbacks is not None:
      callbacks.callbacks = _without_last(callbacks.callbacks)

  def _hold_masks(self) -> None:
    """Puts the masks of the last round back, and zeros where they are."""
    if not self._inert:
      self._layers.assign_masks(self._pruner.masks)

  def _end(self) -> None:
    if not self._inert and self._pruner.hold():
      self._say(
        'other weights or masks were put into the model after the last '
        'epoch; the masks are back, the weights may be of another epoch'
      )
    if self._hook is not None and self.reached_target:
      self._say(
        f'done: {self._pruner.zeros} of {self._pruner.total} weights are zero'
      )
    self._leave()

  # The run.

  def _prepare(self) -> None:
    """Makes room for the state, which others may restore, and for the hook."""
    optimizer_traits.build(self._optimizer, self.model)
    while len(self._state.snapshots) < self._snapshots():
      self._state.add_snapshot()
    if self._ramp is not None and not self._state.candidates:
      self._state.candidates.extend(self._layers.new_candidates())
    self._hook = self._new_hook()
    self._run = run = object()
    if self._handler is not None:
      data_handler.on_death(
        self._handler, lambda: self._leave() if self._run is run else None
      )

  def _new_hook(self) -> TrainStepHook:
    return TrainStepHook(
      self.model, self._optimizer, self._layers, self._state, self._ramp
    )

  def _arm(self) -> None:
    """Puts the hook into the model."""
    assert self._hook is not None
    own_loop = self._handler is None
    self._hook.attach(Watch() if own_loop else _FitWatch(self, self._handler))

  def _check_armed(self, hook: TrainStepHook) -> None:
    """Raises if the step that is done was not one of ours."""
    if hook.calls == self._calls:
      with self._leaving_on_error():
        raise ValueError(
          'train_function of the model was replaced while fit runs, by one '
          'that does not hold the masks: use model.make_train_function('
          'force=True), which does.'
        )
    self._calls = hook.calls

  def _check_clock(self) -> None:
    """Raises if the optimizer of a loop of the user's own has not moved."""
    first, self._first_iterations = self._first_iterations, None
    if self._handler is not None or first is None or not self._batches:
      return
    # Loss scaling leaves out steps whose gradients overflow.
    scaled = self._optimizer is not optimizer_traits.inner(self._optimizer)
    if self._iterations() == first and not scaled:
      raise ValueError(
        f'{optimizer_search.describe(self._optimizer)}, the optimizer of the '
        'model, has done no step in this epoch: compile the model with the '
        'optimizer that the training loop applies.'
      )

  def _check_trained(self, trained: set[int], ramps: bool) -> None:
    """Says what a run lacks whose optimizer does not train wrapped kernels."""
    if trained or self._holding:
      return
    if not self._layers.trainable():
      fit_checks.check_not_frozen(self._layers, ramps)
      return
    optimizer = optimizer_search.describe(self._optimizer)
    if ramps:
      raise ValueError(
        "the model's train_step must apply its gradients by model.optimizer, "
        f'{optimizer}, or another optimizer that is an attribute of the model, '
        'but does not, or in a tf.function that was traced before this fit: '
        'the ramp would do nothing. Use it, or ramp=L2Ramp(limit=0).'
      )
    if self._snapshots():
      warnings.warn(
        f'{optimizer} does not apply the gradients of the wrapped layers. '
        'What does is not rewound, and its learning rate is not restarted: '
        'make the optimizer that trains them an attribute of the model.',
        stacklevel=2,
      )

  def _follow_optimizer(self) -> bool:
    """Goes on with another optimizer, if the model was compiled anew."""
    if self._hook is None or not self._was_compiled_anew():
      return False
    self._hook.detach()
    iterations = self._iterations()
    self._take_optimizer()
    missing = self._iterations() - iterations
    state = self._state
    state.set(
      ramp_begin=state.get('ramp_begin') + missing,
      decay_begin=state.get('decay_begin') + missing,
    )
    for snapshot in state.snapshots:
      # It has no state of the new one, which is put back to where it begins.
      snapshot.replace_from(
        len(self._layers.model_weights), self._optimizer.variables()
      )
    self._push_decay()
    if self._ramp is not None and state.get('ramp_limit') > 0:
      # The rest of the round, as strong as the other one would have been.
      number = state.get('round') + 1
      step = self._epoch_begin + self._batches
      left = max(1, self._timeline.round_end(number) - step)
      self._raise_lambda(self._ramp, number, left)
    self._calls = 0
    self._arm()
    self._schedule_due()
    return True

  def _was_compiled_anew(self) -> bool:
    """Returns whether the model has another optimizer than the run."""
    return self._followed not in (None, self.model.optimizer)

  def _take_optimizer(self) -> None:
    """Makes a hook for the optimizer that the model was compiled with anew."""
    fit_checks.check_compiled(self.model)
    self._followed = self._optimizer = self.model.optimizer
    optimizer_traits.build(self._optimizer, self.model)
    self._hook = self._new_hook()

  def _iterations(self) -> int:
    return int(self._optimizer.iterations.numpy())

  def _begin(self, epoch: int) -> None:
    """Begins a run, goes on with one, or merely holds a finished ticket."""
    self._pruner.read()
    if not self._inert:
      if self._was_compiled_anew():
        self._take_optimizer()
      self._arm()
      self._apply_masks()
    if continuation.goes_on(
      self._state,
      type(self).__name__,
      epoch,
      self.params['epochs'],
      self._pruner.zeros,
      self._restored,
    ):
      self._go_on()
    else:
      self._begin_anew(epoch)
    self._first_iterations = self._iterations()
    self._is_running = True
    self._schedule_due()
    self._do_due(0)

  def _go_on(self) -> None:
    iterations = self._iterations()
    if not continuation.match_iterations(self._state, iterations):
      self._say(
        'the optimizer has done fewer steps than the run, as after compiling '
        "again, or from a file without its state (Keras's SavedModel): the "
        'run goes on, but not as if it had never stopped'
      )
    self._push_decay()
    self._holding = not self._inert and self.reached_target
    self._say(f'going on in stage {self._state.get("stage")}')

  def _begin_anew(self, epoch: int) -> None:
    state, zeros = self._state, self._pruner.zeros
    self._rewind_weights = None
    if self._pruner.has_begun and not state.begun:
      self._say(
        f'the masks are at {_percent(self.sparsity)}, but what was loaded '
        'tells nothing of their run, as a weights file does not: a new one '
        'begins from there'
      )
    self._holding = self.reached_target and not self._inert
    if state.begun and not self._holding and not self._inert:
      self._say(
        f'this fit (to epoch {self.params["epochs"]}, from epoch {epoch}, with '
        f'{zeros} zeros) does not continue the known run of '
        f'{continuation.describe(state)}: a new run begins'
      )
    self._layers.warn_of_open_masks()
    state.set(
      first_epoch=epoch,
      epochs=self.params['epochs'],
      steps_per_epoch=self.params['steps'] or 0,
      algorithm=continuation.fingerprint(type(self).__name__),
      zeros=zeros,
    )
    self._restart_decay(self._timeline.steps)
    if self._holding:
      state.set(stage=FINETUNING)
      self._say(f'{_percent(self.sparsity)} was reached before: mask held')
    elif not self._inert:
      budget.check_epochs(self._timeline.epochs, first=epoch)
      fit_checks.check_not_frozen(self._layers)
      self._check_rounds()
      self._warn_of_callbacks()
      state.reset()
      self._on_run_begin()

  def _warn_of_callbacks(self) -> None:
    """Warns of callbacks that the cuts mislead."""
    if self._callback_list is None:
      return
    epochs, first = self._timeline.epochs, self._state.get('first_epoch')
    dense = self._dense_epochs(epochs)
    share = 1 - self._finetune_share(self._rounds_wanted())
    fit_checks.warn_of_misled(
      self._callback_list.callbacks,
      self._optimizer,
      epochs,
      first + dense + math.ceil((epochs - dense) * share),
    )

  def _begin_rounds(self, step: int, why: str) -> None:
    """Begins stage 2 at a training step, and says why."""
    wanted = rounds = self._rounds_wanted()
    if not self._pruner.explicit_rounds:
      left = self._timeline.steps - step
      steps = self._timeline.steps_for_rounds(left, wanted)
      rounds = budget.rounds_that_fit(steps, wanted, self._shortest_round())
    self._state.set(stage=PRUNING, rounds=rounds, rounds_begin=step)
    target = _percent(self._pruner.target_zeros / self._pruner.total)
    message = f'{rounds} of {count(wanted, "round")} to {target}'
    if rounds < wanted:
      message += f'; {self._why_fewer(wanted)}'
      if self._warns_of_fewer_rounds:
        warnings.warn(f'{type(self).__name__}: {message}.', stacklevel=2)
    self._say(f'{why}; {message}')
    self._begin_round()

  def _why_fewer(self, wanted: int) -> str:
    if self._finetune_share(wanted) == 1:
      return 'finetune_fraction=1 cuts all at once'
    enough = self._timeline.epochs_for(
      wanted, self._shortest_round(), self._dense_epochs
    )
    return (
      f'the budget of {count(self._timeline.epochs, "epoch")} allows no more, '
      f'{count(enough, "epoch")} would allow all'
    )

  def _begin_round(self) -> None:
    if self._ramp is not None:
      self._begin_ramp(self._ramp)
    self._schedule_due()

  def _begin_ramp(self, ramp: L2Ramp) -> None:
    """Chooses the candidates of the next round and lets lambda rise."""
    state = self._state
    number = state.get('round') + 1
    new = self._masks_at(number)
    for variable, before, after in zip(
      state.candidates, self._pruner.masks, new, strict=True
    ):
      variable.assign(before & ~after)
    timeline = self._timeline
    steps = timeline.round_end(number) - timeline.round_end(number - 1)
    self._raise_lambda(ramp, number, steps)

  def _raise_lambda(self, ramp: L2Ramp, number: int, steps: int) -> None:
    """Lets lambda rise over the next steps, as strong as the ramp is to be."""
    optimizer = self._optimizer
    limit, exponent = optimizer_traits.ramp_limit(
      optimizer, ramp, self._strength, steps
    )
    self._state.set(
      ramp_begin=optimizer.iterations,
      ramp_steps=ramp.ramp_steps(steps),
      ramp_limit=limit,
    )
    if number == 1 or self.verbose > 1:
      self._say(
        f'round {number}: {count(steps, "step")}, lambda to {limit:.3g} '
        f'(A = {exponent:.3g})'
      )

  def _end_round(self) -> None:
    state = self._state
    number, rounds = state.get('round') + 1, state.get('rounds')
    fit_checks.check_kernels(self._layers)
    self._pruner.write(self._masks_at(number))
    self._clear_slots()
    state.set(round=number, ramp_limit=0.0, zeros=self._pruner.zeros)
    if self.verbose > 1:
      self._say(f'round {number} of {rounds}: {_percent(self.sparsity)}')
    self._on_round_end()
    if number < rounds:
      self._begin_round()
    else:
      state.set(stage=FINETUNING)
      state.clear_snapshots()
      self._on_finetuning()
      self._say(f'{_percent(self.sparsity)} reached; finetuning')

  def _masks_at(self, number: int) -> list[np.ndarray]:
    scores = self._scores.of(self._layers)
    return self._pruner.masks_at(number, self._state.get('rounds'), scores)

  # Time.

  def _schedule_due(self) -> None:
    """Sets the next training step at which there is something to do."""
    self._due = _NEVER
    if not self._inert and not self._holding:
      self._due = self._next_event()
      if self._state.get('stage') == PRUNING and self._state.get('rounds'):
        end = self._timeline.round_end(self._state.get('round') + 1)
        self._due = min(self._due, end)
    if self._hook is not None:
      ramps = self._state.get('ramp_limit') > 0
      only_round = ramps and self._state.get('rounds') == 1
      self._hook.set_kind(ramps, bool(self._pruner.zeros) or not only_round)

  def _do_due(self, step: int) -> None:
    while step >= self._due:
      if self._next_event() <= self._due:
        self._on_event(step)
      else:
        self._end_round()
      self._schedule_due()

  def _count_steps(self) -> None:
    """Learns from the first epoch how long an epoch is."""
    self._state.set(steps_per_epoch=self._batches)
    self._epoch_begin = 0
    self._state.set(decay_steps=self._timeline.steps)
    self._push_decay()
    if not self._inert and not self._holding:
      self._check_rounds()

  def _check_rounds(self) -> None:
    if self._pruner.explicit_rounds:
      self._timeline.check_rounds(
        self._rounds_wanted(),
        keras_access.steps_per_execution(self.model),
        self._dense_epochs,
      )

  # The learning rate.

  def _restart_decay(self, steps: int, done: int = 0) -> None:
    """Restarts a `StagedLearningRate`, `done` steps into its decay."""
    begin = self._iterations() - done
    self._state.set(decay_begin=begin, decay_steps=steps + done)
    self._push_decay()

  def _push_decay(self) -> None:
    rate = optimizer_traits.staged_learning_rate(self._optimizer)
    if rate is not None:
      state = self._state
      rate.restart(state.get('decay_begin'), state.get('decay_steps'))

  # Small things.

  def _rewindable(self) -> list[Any]:
    """Returns what a snapshot holds: weights, statistics, optimizer state."""
    return [*self._layers.model_weights, *self._optimizer.variables()]

  def _rewind(self, snapshot: Snapshot) -> None:
    """Puts a snapshot back, but for what is pruned, which stays zero."""
    values = snapshot.restore(self._rewindable())
    self._rewind_weights = values[: len(self._layers.model_weights)]
    self._apply_masks()

  def _apply_masks(self) -> None:
    """Sets to zero what is pruned, which nothing in a train step will move."""
    self._layers.assign_masks(self._pruner.masks)
    self._clear_slots()

  def _clear_slots(self) -> None:
    if self._hook is not None:
      self._hook.clear_slots(self._pruner.masks)

  def _l2_lambda(self) -> float:
    if self._hook is None or self._ramp is None:
      return 0.0
    iterations = self._optimizer.iterations
    return float(self._state.l2_lambda(self._ramp, iterations))

  def _say(self, message: str) -> None:
    self._messages.say(message)

  @contextlib.contextmanager
  def _leaving_on_error(self) -> Iterator[None]:
    try:
      yield
    except BaseException:
      self._leave()
      raise

  def _leave(self) -> None:
    """Takes the hook out of the model, and says if the target was missed."""
    self._release_list()
    hook, self._hook = self._hook, None
    if hook is None:
      return
    hook.detach()
    if self._is_running and not self.reached_target:
      message = (
        f'fit ended early and the target was NOT met: {self._pruner.zeros} of '
        f'{self._pruner.total} weights are zero instead of '
        f'{self._pruner.target_zeros}'
      )
      self._say(message)
      self._messages.flush()
      warnings.warn(f'{type(self).__name__}: {message}.', stacklevel=2)
    self._messages.flush()


class _FitWatch(Watch):
  """Watches the `fit` around a run.

  Args:
    callback: whose run it is.
    data_handler: Keras's, of the `fit`.
  """

  is_own_loop = False

  def __init__(self, callback: TicketCallback, data_handler: Any):
    self._callback = callback
    self._data_handler = data_handler

  def is_alive(self) -> bool:
    return fit_introspection.is_running(self._data_handler)

  def end(self) -> None:
    self._callback._leave()

  def on_error(self) -> None:
    # A fit or train_on_batch inside of it may fail, and ours go on.
    if fit_introspection.is_innermost(self._callback.model, self._data_handler):
      self._callback._leave()

  def on_write(self) -> None:
    self._callback._hold_masks()

  def replace(self, hook: TrainStepHook) -> bool:
    return self._callback._follow_optimizer()

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    self._callback._check_trained(trained, ramps)


class _LastCallback(keras.callbacks.LambdaCallback):
  """Acts when training ends, after all other callbacks."""

  def __init__(self, end: Any):
    super().__init__(on_train_end=lambda _: end())


def _without_last(callbacks: list[Any]) -> list[Any]:
  return [c for c in callbacks if not isinstance(c, _LastCallback)]


def _percent(sparsity: float) -> str:
  return f'{100 * sparsity:.4g}%'
