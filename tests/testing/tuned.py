"""What the tests of the tuner search: a tiny model, and a program for it.

python -m tests.testing.tuned DIRECTORY MAX_TRIALS SECONDS_PER_TRIAL
"""

import sys
import time
from typing import Any

import keras_tuner
import numpy as np
import tf_keras as keras

import tf_unilth
from tf_unilth import tuner

EPOCHS = 3


def data() -> tuple[np.ndarray, np.ndarray]:
  """Returns numbers, and labels that depend on them."""
  x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
  return x, (x.sum(1) > 0).astype(np.int64)


def model() -> keras.Model:
  """Returns two dense layers, of 64 weights."""
  return keras.Sequential(
    [
      keras.layers.Dense(8, activation='relu', input_shape=(4,)),
      keras.layers.Dense(4),
    ]
  )


def compiled(built: keras.Model, rate: float = 0.1) -> keras.Model:
  """Compiles a model for the labels; a graph takes longer than its steps."""
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  built.compile(
    keras.optimizers.SGD(rate), loss, metrics=['accuracy'], run_eagerly=True
  )
  return built


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
  """Returns the model, with a learning rate to search."""
  rate = hp.Float('learning_rate', 0.001, 1, sampling='log', default=0.03)
  return compiled(model(), rate)


def space(
  hp: keras_tuner.HyperParameters,
) -> tuple[tf_unilth.IterativeSparsity, tf_unilth.DLTH]:
  """Returns a quick ticket: half of the weights, cut at random."""
  share = hp.Choice('finetune_fraction', [0.3, 0.5, 0.7], default=0.5)
  callback = tf_unilth.DLTH(finetune_fraction=share, verbose=0)
  return tf_unilth.IterativeSparsity(0.5), callback


def search(
  directory: Any, kind: Any = tuner.RandomSearch, **given: Any
) -> tuner.TicketTuner:
  """Returns a silent search; nothing has been searched."""
  settings = {'max_trials': 3, 'verbose': 0, 'seed': 0, **given}
  made = settings.pop('hypermodel', build), settings.pop('space', space)
  return kind(*made, directory=directory, **settings)


def run(made: tuner.TicketTuner, **given: Any) -> None:
  """Searches."""
  x, y = data()
  settings: dict[str, Any] = {'epochs': EPOCHS, 'validation_data': (x, y)}
  made.search(x, y, batch_size=16, **{**settings, **given})


def found(made: tuner.TicketTuner) -> list[Any]:
  """Returns the trials: values and score of each, in their order."""
  trials = [made.oracle.trials[i] for i in made.oracle.start_order]
  return [(t.trial_id, t.hyperparameters.values, t.score) for t in trials]


class Killed(BaseException):
  """Ends a process at once, as far as the search can see."""


def kill_at(package: Any, count: int) -> Any:
  """Returns a callback that ends a search; copies of it count on.

  Args:
    package: the Keras that it is of.
    count: in which of the search's epochs.
  """
  left = [count]

  class KillAt(package.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
      left[0] -= 1
      if not left[0]:
        raise Killed

  return KillAt()


class Slow(keras.callbacks.Callback):
  """Sleeps in each epoch, and says so.

  Args:
    seconds: of a whole trial.
  """

  def __init__(self, seconds: float):
    super().__init__()
    self._seconds = seconds

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    print(f'epoch {epoch}', flush=True)
    time.sleep(self._seconds / EPOCHS)


def main(directory: str, max_trials: str, seconds: str) -> None:
  """Searches, as one process or one of many."""
  made = search(
    directory, max_trials=int(max_trials), worker_timeout=6, verbose=1
  )
  run(made, callbacks=[Slow(float(seconds))])
  print('searched', flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
