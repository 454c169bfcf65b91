"""What all recipes share: one run, from data to report."""

import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags, logging

import tf_unilth
from recipes import (
  devices,
  exports,
  method_flags,
  plots,
  progress,
  records,
  report,
  run_directory,
  run_flags,
  training,
)
from recipes.datasets import Dataset, Request
from recipes.recipe import Recipe as Recipe

FLAGS = flags.FLAGS

# What a run may end with that is no fault of the program.
_EXPECTED = (
  ValueError,
  FloatingPointError,
  OSError,
  run_directory.RunDirectoryError,
  tf.errors.OpError,
)


def launch(recipe: Recipe) -> None:
  """Runs a recipe as a binary, with its defaults for the flags."""
  run_flags.adopt(recipe)
  app.run(
    functools.partial(_main, recipe),
    flags_parser=functools.partial(_parse, recipe),
  )


def _parse(recipe: Recipe, arguments: Sequence[str]) -> list[str]:
  """Parses flags; shows help that is sorted by what the flags are for."""
  if {'--help', '-help', '-h'} & set(arguments[1:]):
    about = sys.modules['__main__'].__doc__ or ''
    print(run_flags.help_text(about, recipe.flags))
    sys.exit(0)
  return app.parse_flags_with_usage(arguments)


def _main(recipe: Recipe, arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  # Such as that a callback, which makes a mask, is slower than a step.
  logging.set_verbosity(logging.ERROR)
  tf.get_logger().setLevel('ERROR')
  try:
    if arguments[1:]:
      raise ValueError(
        f'{arguments[1]!r} is no flag: they are given as --name=value.'
      )
    directory = output_dir(recipe)
    results = run(recipe, directory)
  except _EXPECTED as error:
    if FLAGS.debug:
      raise
    return f'error: {_one_line(error)}'
  if results is not None:
    print(f'\n{report.table(results)}\n\nwritten to {directory}')
  return None


def _one_line(error: BaseException) -> str:
  """Returns what a user needs of an error's message."""
  if isinstance(error, tf.errors.OpError):
    # Behind the first line come the graph and the stack.
    return error.message.strip().partition('\n')[0]
  if isinstance(error, OSError) and error.strerror:
    place = f'{error.filename}: ' if error.filename else ''
    return place + error.strerror
  return str(error)


def output_dir(recipe: Recipe) -> pathlib.Path:
  """Returns the run directory that the flags name."""
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir)
  name = f'{FLAGS.method}-{FLAGS.target_sparsity}-seed{FLAGS.seed}'
  return pathlib.Path('runs', recipe.name, name)


def run(recipe: Recipe, directory: pathlib.Path) -> dict[str, Any] | None:
  """Trains, strips, evaluates, exports and writes the run directory.

  Goes on where an earlier run of the same command stopped.

  Args:
    recipe: what to train on what.
    directory: the run directory.

  Returns:
    The content of `results.json`; `None` in a process that is not the chief.
  """
  run_flags.adopt(recipe)
  # Before anything is written, so that a bad flag leaves nothing behind.
  run_flags.check()
  devices.check(FLAGS.strategy, FLAGS.jit_compile)
  config = run_flags.config(recipe)
  results = run_directory.finished(directory, config)
  if results is not None:
    print(f'finished before, in {directory}')
    return results
  with devices.prepared(
    FLAGS.strategy,
    FLAGS.mixed_precision,
    FLAGS.jit_compile,
    FLAGS.deterministic,
  ) as strategy:
    return _Run(recipe, directory, config, strategy).run()


class _Run:
  """One run, whose steps share data, model and plan."""

  def __init__(
    self,
    recipe: Recipe,
    directory: pathlib.Path,
    config: dict[str, Any],
    strategy: tf.distribute.Strategy,
  ):
    self._recipe, self._directory = recipe, directory
    self._config, self._strategy = config, strategy
    self._chief = devices.is_chief(strategy)
    self._verbose = FLAGS.verbose if self._chief else 0

  def run(self) -> dict[str, Any] | None:
    keras.utils.set_random_seed(FLAGS.seed)
    self._data = data = self._recipe.load(_request())
    per_epoch = -(-data.train.examples // FLAGS.batch_size)
    self._steps = FLAGS.epochs * per_epoch
    with self._strategy.scope():
      self._rate = training.learning_rate(self._recipe, self._steps)
      self._plan = method_flags.plan(
        self._steps, FLAGS.seed, self._rate, self._verbose > 0
      )
      self._model = self._wrapped()
      training.compile_model(self._model, self._recipe, self._rate)
    if self._chief:
      self._look_at(data)
      run_directory.begin(self._directory, self._config)
    noted = self._fit(per_epoch)
    return self._finish(noted)

  def _look_at(self, data: Dataset) -> None:
    """Says what there is, and looks at it once, before a run begins."""
    if self._verbose:
      print(
        f'{data.name}: {data.train.examples:,} images for training, '
        f'{data.validation.examples:,} for validation, '
        f'{data.test.examples:,} for the test',
        flush=True,
      )
    if not self._directory.exists():
      for part in (data.train, data.validation, data.test):
        part.check()

  def _wrapped(self) -> keras.Model:
    model = training.build(
      self._recipe, self._data.image_shape, self._data.classes
    )
    schedule = self._plan.schedule
    if schedule is None:
      return model
    return tf_unilth.prune_low_magnitude(
      model, schedule, **method_flags.wrapping()
    )

  def _fit(self, per_epoch: int) -> records.Records:
    data, batch_size = self._data, FLAGS.batch_size
    resume = tf_unilth.CheckpointAndResume(
      self._directory / 'checkpoints',
      config={**self._config, 'dataset': data.name},
      verbose=int(self._verbose > 0),
    )
    first = resume.initial_epoch
    directory = self._directory if self._chief else None
    noted = records.Records(directory, self._rate, first)
    validation = data.validation.batches(batch_size)
    on_replicas = functools.partial(devices.on_replicas, self._strategy)
    self._model.fit(
      on_replicas(
        data.train.epochs(batch_size, FLAGS.seed, first, FLAGS.epochs),
        weighted=True,
      ),
      initial_epoch=first,
      epochs=FLAGS.epochs,
      steps_per_epoch=per_epoch,
      # Datasets over replicas are not begun again by themselves.
      validation_data=on_replicas(validation.repeat(), weighted=False),
      validation_steps=-(-data.validation.examples // batch_size),
      callbacks=[
        *self._plan.callbacks,
        noted,
        resume,
        *self._watchers(),
      ],
      verbose=0,
    )
    return noted

  def _watchers(self) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that show the run while it goes on."""
    watchers = []
    if FLAGS.tensorboard and self._chief:
      watchers.append(
        keras.callbacks.TensorBoard(
          self._directory / 'tensorboard', write_graph=False, profile_batch=0
        )
      )
    shown = progress.Progress(self._verbose, self._plan.ticket)
    return [*watchers, shown]

  def _finish(self, noted: records.Records) -> dict[str, Any] | None:
    """Strips, exports, evaluates and reports a trained model."""
    # Every process reads the variables: some are kept one part in each.
    summary = tf_unilth.sparsity_summary(self._model)
    last = records.histogram(self._model)
    ticket = self._ticket()
    stripped = tf_unilth.strip_pruning(self._model)
    weights = stripped.get_weights()
    if not self._chief:
      return None
    plain = self._on_one_device(stripped, weights)
    inputs, _ = next(iter(self._data.test.batches(FLAGS.batch_size)))
    written = exports.write(
      FLAGS.export, self._directory, plain, ticket, inputs.numpy()
    )
    if FLAGS.verbose:
      print(
        '\n'
        + '\n\n'.join([str(summary), *(w.report for w in written.values())])
      )
    results = self._results(summary, plain, written)
    results['seconds'] = noted.seconds
    histograms = {**noted.histograms, 'at the end': last}
    self._report(noted.history, results, summary, histograms)
    # Last: it says that the run is finished.
    run_directory.write_json(self._directory / 'results.json', results)
    return results

  def _ticket(self) -> tf_unilth.Ticket | None:
    if 'ticket' not in FLAGS.export:
      return None
    return tf_unilth.Ticket.from_model(
      self._model,
      self._plan.ticket,
      method=FLAGS.method,
      seed=FLAGS.seed,
      provenance={'dataset': self._data.name, 'recipe': self._recipe.name},
    )

  def _on_one_device(
    self, stripped: keras.Model, weights: list[np.ndarray]
  ) -> keras.Model:
    """Returns the stripped model without replicas, ready to be evaluated."""
    model = stripped
    if self._strategy.num_replicas_in_sync > 1:
      keras.backend.reset_uids()  # Its layers are to have the same names.
      model = training.build(
        self._recipe, self._data.image_shape, self._data.classes
      )
      model.set_weights(weights)
    model.compile(loss=training.loss(), metrics=['accuracy'])
    return model

  def _results(
    self,
    summary: tf_unilth.SparsitySummary,
    plain: keras.Model,
    written: dict[str, exports.Export],
  ) -> dict[str, Any]:
    data, ticket, chosen = self._data, self._plan.ticket, FLAGS.batch_size
    saved = written.get('saved_model')
    return {
      'method': FLAGS.method,
      'dataset': data.name,
      'model': self._recipe.name,
      'seed': FLAGS.seed,
      'target_sparsity': FLAGS.target_sparsity,
      'sparsity': summary.sparsity,
      'nonzero_weights': summary.total_weights - summary.zeros,
      'total_weights': summary.total_weights,
      'test_accuracy': _accuracy(plain, data.test.batches(chosen)),
      'validation_accuracy': _accuracy(plain, data.validation.batches(chosen)),
      'dense_parameters_bytes': sum(w.nbytes for w in plain.get_weights()),
      'export_bytes': saved.bytes if saved else None,
      'export_difference': saved.difference if saved else None,
      'exports': {
        kind: {'bytes': export.bytes, 'difference': export.difference}
        for kind, export in written.items()
      },
      'train_examples': data.train.examples,
      'epochs': FLAGS.epochs,
      'steps': self._steps,
      'seconds': 0.0,
      'devices': devices.describe(self._strategy),
      'rounds': ticket.rounds if ticket else 0,
      'plateau_epoch': ticket.plateau_epoch if ticket else None,
      'rewound_to_epoch': ticket.rewound_to_epoch if ticket else None,
      'versions': run_directory.versions(),
    }

  def _report(
    self,
    history: dict[str, list[float]],
    results: dict[str, Any],
    summary: tf_unilth.SparsitySummary,
    histograms: dict[str, Any],
  ) -> None:
    drawn: list[str] = []
    if plots.available():
      title = (
        f'{self._recipe.name}, {FLAGS.method}: '
        f'{results["test_accuracy"]:.2%} at {results["sparsity"]:.2%} zeros'
      )
      plots.draw(
        self._directory,
        title,
        history,
        results,
        summary.rows,
        histograms,
      )
      drawn = list(plots.FILES)
    else:
      print(
        'report.md has no plots: they need matplotlib (pip install .[report]).'
      )
    report.write(
      self._directory,
      run_flags.command(self._recipe),
      self._config,
      results,
      drawn,
    )


def _accuracy(model: keras.Model, batches: tf.data.Dataset) -> float:
  return model.evaluate(batches, verbose=0)[1]


def _request() -> Request:
  return Request(
    data_dir=FLAGS.data_dir,
    validation_fraction=FLAGS.validation_fraction,
    seed=FLAGS.seed,
    train_examples=FLAGS.train_examples,
    download=FLAGS.download,
  )
