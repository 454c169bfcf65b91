"""Measures the overhead of pruning: steps, events, memory.

  python -m recipes.costs.overhead --output=overhead
  python -m recipes.costs.overhead --models=lenet --jit_compile
  KERAS_BACKEND=jax python -m recipes.costs.overhead --keras=keras

The dense model, tfmot's wrapper with PolynomialDecay and our algorithms, which
`recipes.costs.workloads` defines, train in turns in one process, in blocks of
steps; ratios compare blocks that follow each other. The table has medians, and
the first and third quartiles of the ratios. All models, the dense one too,
train with a callback that counts steps. `recipes.costs.mask_update` compares
the mask update of a large model with tfmot's. With `--keras=keras`, steps of
two small Keras 3 models are timed, as `recipes.costs.keras_3_times` says.
"""

import json
import pathlib
import sys
from typing import Any

import tensorflow as tf
from absl import app, flags

from recipes.common import files, provenance
from recipes.costs import overhead_report, overhead_times
from recipes.costs.workloads import DENSE, METHODS, WORKLOADS

_KERAS = flags.DEFINE_enum(
  'keras', 'tf_keras', ['tf_keras', 'keras'], 'Keras of the models.'
)
_MODELS = flags.DEFINE_list(
  'models', list(WORKLOADS), f'Models, of {", ".join(WORKLOADS)}.'
)
_METHODS = flags.DEFINE_list(
  'methods', list(METHODS)[1:], 'Methods to compare with the dense model.'
)
_REPEATS = flags.DEFINE_integer(
  'repeats', 10, 'Number of timed blocks per epoch.', 2
)
_FOOTPRINTS = flags.DEFINE_integer(
  'footprints',
  3,
  'Number of processes per method that measure memory and the first step.',
  0,
)
_JIT_COMPILE = flags.DEFINE_bool(
  'jit_compile', False, 'Compile the training step with XLA.'
)
_OUTPUT = flags.DEFINE_string(
  'output',
  None,
  'Path without extension of the .json, .md and .png files to write. Results '
  'of other models in them are kept.',
)
# The methods whose memory and first step are measured.
_FOOTPRINT_OF = (DENSE, 'tfmot', 'LTH', 'UniLTH')


@flags.validator('models', f'must be of {", ".join(WORKLOADS)}')
def _are_models(value: list[str]) -> bool:
  return set(value) <= set(WORKLOADS)


@flags.validator('methods', f'must be of {", ".join(list(METHODS)[1:])}')
def _are_methods(value: list[str]) -> bool:
  return set(value) <= set(METHODS) - {DENSE}


def _begun(path: pathlib.Path | None, jit_compile: bool) -> dict[str, Any]:
  """Returns the results so far: of other models in an existing output."""
  content: dict[str, Any] = {
    'versions': provenance.versions(),
    'devices': [d.name for d in tf.config.list_logical_devices()],
    'jit_compile': jit_compile,
  }
  models = {}
  if path and path.with_suffix('.json').exists():
    before = json.loads(path.with_suffix('.json').read_text())
    models = before.pop('models')
    if before != content:
      raise ValueError(
        f'--output {path} is of other versions, devices or --jit_compile: '
        'remove it or name another.'
      )
  return {**content, 'models': models}


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
  models = content['models']
  files.write_json(path.with_suffix('.json'), content)
  tables = [
    overhead_report.table(model, found) for model, found in models.items()
  ]
  path.with_suffix('.md').write_text('\n'.join(tables))
  overhead_report.plot(path.with_suffix('.png'), models)


def _main(_: list[str]) -> str | None:
  output = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else None
  if _KERAS.value == 'keras':
    # Here, because the other measurements need no Keras 3.
    from recipes.costs import keras_3_times

    keras_3_times.run(output, _REPEATS.value)
    return None
  try:
    content = _begun(output, _JIT_COMPILE.value)
  except ValueError as error:
    return f'error: {error}'
  for model in _MODELS.value:
    found = overhead_times.measure(
      model, _METHODS.value, _REPEATS.value, _JIT_COMPILE.value
    )
    chosen = [m for m in _FOOTPRINT_OF if m in (DENSE, *_METHODS.value)]
    found['footprints'] = overhead_times.footprints(
      model, chosen, _FOOTPRINTS.value
    )
    content['models'][model] = found
    print(overhead_report.table(model, found), flush=True)
    if output:  # After each, so that a run cut short keeps its models.
      _write(output, content)
  return None


if __name__ == '__main__':
  app.run(lambda argv: sys.exit(_main(argv)))
