"""What the documents say of costs, from the committed files.

Each function returns parts of a document, with the numbers of the files.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from recipes.costs import keras_3_times, latency_report, workloads
from tests.documents import document_numbers
from tests.documents.committed_runs import load, span

_STEPS = 'cost/random/training_steps/overhead.json'
_JIT_STEPS = 'cost/random/training_steps_jit_compile/overhead.json'
_NAMES = 'LeNet-300-100', 'ResNet-20', 'MobileNetV2', 'ResNet-50'
_HEAD = f'| | {" | ".join(_NAMES)} |'
_EXPORTED = {'MLP': 'mlp', 'ResNet-20': 'resnet20', 'ResNet-50': 'resnet50'}


def _median(rows: Sequence[Any], method: str, name: str) -> float:
  return statistics.median(r[name] for r in rows if r['method'] == method)


def _ratios(found: Any, kind: str, method: str, stage: str) -> list[float]:
  """Returns a method's times in those of the dense model, all blocks'."""
  stages = {'', {'before it prunes': 'dense stage'}.get(stage, stage)}
  rows = [r for r in found[kind] if r['method'] == method]
  return [x for r in rows if r['stage'] in stages for x in r['ratios']]


def cost(found: Any, label: str) -> str:
  """Returns a cell of the table of costs.

  Args:
    found: what the file has of a model.
    label: of the row.
  """
  method, _, what = label.replace('`', '').partition(', ')
  if method == 'dense model':
    rows = [r for r in found['steps'] if r['method'] == 'dense']
    seconds = statistics.median(x for r in rows for x in r['seconds'])
    return f'{1e3 * seconds:.3g} ms'
  if event := found['events'].get(label.removeprefix('a ')):
    return f'{1e3 * statistics.median(event):.3g} ms'
  taken = found['footprints']
  if what == 'first step':
    first = _median(taken, method, 'first_step')
    return f'{first / _median(taken, "dense", "first_step"):.1f}'
  if what == 'peak memory':
    peak = _median(taken, method, 'peak_bytes')
    return f'{(peak - _median(taken, "dense", "peak_bytes")) / 1e6:+.0f} MB'
  kind = what if what in ('evaluate', 'predict') else 'steps'
  ratios = _ratios(found, kind, method, what)
  if not ratios:
    return ''
  first, median, third = statistics.quantiles(ratios, n=4, method='inclusive')
  return f'{median:.2f} ({first:.2f} to {third:.2f})'


def cost_table() -> list[str]:
  """The rows of the table of costs."""
  models = load(_STEPS)['models'].values()
  section = (
    (document_numbers.ROOT / 'docs/costs.md').read_text().partition(_HEAD)
  )
  _, *rows = section[2].partition('\n\n')[0].strip().splitlines()
  labels = [row.split('|')[1].strip() for row in rows]
  assert len(labels) > 20
  lines = []
  for label in labels:
    cells = [cost(found, label) for found in models]
    lines.append(' '.join(f'| {" | ".join([label, *cells])} |'.split()))
  return lines


def cost_of_steps() -> list[str]:
  """What a step costs in words."""
  models = load(_STEPS)['models']
  small = [models[name] for name in ('lenet', 'resnet20', 'mobilenet_v2')]
  held, ramp = (
    [statistics.median(_ratios(found, 'steps', 'UniLTH', s)) for found in small]
    for s in ('mask held', 'ramp')
  )
  batches = [str(workloads.WORKLOADS[name].batch_size) for name in models]
  return [
    f'`UniLTH` {span(held, 2)} times with the mask held on LeNet-300-100, '
    f'ResNet-20 and MobileNetV2, at most {max(ramp):.2f} on the ramp.',
    f'batches of {", ".join(batches[:-1])} and {batches[-1]} images;',
  ]


def cost_of_compiled_steps() -> list[str]:
  """What a step costs that XLA compiled."""
  (found,) = load(_JIT_STEPS)['models'].values()
  medians = {
    (method, stage): statistics.median(_ratios(found, 'steps', method, stage))
    for method, stage in {
      (row['method'], row['stage'])
      for row in found['steps']
      if row['method'] not in ('dense', 'tfmot')
    }
  }
  ramps = {f'{medians[key]:.2f}' for key in medians if key[1] == 'ramp'}
  others = [medians[key] for key in medians if key[1] != 'ramp']
  (ramp,) = ramps  # The same for all.
  return [f'our steps cost {ramp} on the ramp and {span(others, 2)} otherwise.']


def cost_of_keras_3_steps() -> list[str]:
  """What a step of a Keras 3 model costs, on each backend."""
  lines = []
  for backend in ('TensorFlow', 'JAX', 'torch'):
    name = f'cost/random/keras_3_steps/{backend.lower()}.json'
    found = load(name)['seconds_per_step']
    cells = [
      keras_3_times.ratio(found[network], kind)
      for network in ('lenet', 'conv')
      for kind in (keras_3_times.HELD, keras_3_times.RAMP)
    ]
    lines.append(f'| {" | ".join([backend, *cells])} |')
  return lines


def cost_of_mask_updates() -> list[str]:
  """What a mask update of a large model costs."""
  seconds = load('cost/random/mask_update/mask_update.json')['seconds']

  def times(name: str) -> list[float]:
    stock = seconds['tfmot, update']
    return sorted(a / b for a, b in zip(stock, seconds[name], strict=True))

  def spread(scope: str) -> str:
    ratios = times(f'{scope}, update')
    middle = statistics.median(ratios)
    return f'{middle:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})'

  alone = [
    statistics.median(times(f'{scope}, select'))
    for scope in ('global', 'layer')
  ]
  update = statistics.median(seconds['global, update'])
  return [
    f'takes {update:.2f} s, over all layers together {spread("global")} times '
    f"as fast as tfmot's, per layer {spread('layer')} times; the selection in "
    f'it alone is {alone[0]:.0f} and {alone[1]:.0f} times as fast.'
  ]


def memory_of_a_run() -> list[str]:
  """What masks, candidates and a snapshot of ResNet-50 take."""
  rows = load(_STEPS)['models']['resnet50']['footprints']
  weights = _median(rows, 'UniLTH', 'wrapped_bytes') / 1e6
  return [
    # Float32 masks, two booleans a weight.
    f'one and a half times the wrapped weights ({1.5 * weights:.0f} MB for '
    'ResNet-50)',
    # A weight and its momentum.
    f'(in the table LTH alone, {2 * weights:.0f} MB for ResNet-50)',
  ]


def cost_of_the_import() -> list[str]:
  """What the import adds to the start of Python."""
  found = load('cost/none/import_time/import_time.json')['seconds']
  own, bare = (statistics.median(found[k]) for k in ('tf_unilth', 'python'))
  return [
    f'`import tf_unilth` adds {own - bare:.2f} s of CPU time to the start of '
    'Python'
  ]


def input_pipeline() -> list[str]:
  """How fast the pipeline is."""
  found = load('cost/cifar10/input_pipeline/input_pipeline.json')
  speeds = found['images_per_second']
  pairs = zip(speeds['pipeline'], speeds['training'], strict=True)
  ratios = [read / trained for read, trained in pairs]
  return [
    f'the pipeline of `{found["recipe"]}` gives '
    f'{statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f}) '
    'times the images that the network trains on'
  ]


def exports() -> list[str]:
  """What a packed SavedModel saves and costs."""
  results = load('cost/random/saved_model/saved_model.json')['results']
  lines, loads = [], []
  for label, name in _EXPORTED.items():
    found = results[name]
    dense, packed = (found['bytes'][kind] for kind in ('dense', 'packed'))
    slower = [
      statistics.median(found[what]['packed'])
      / statistics.median(found[what]['dense'])
      for what in ('load', 'call')
    ]
    loads.append(slower[0])
    cells = ' | '.join(f'{ratio:.2f}' for ratio in slower)
    lines.append(
      f'| {label} | {dense / 1e6:.2f} to {packed / 1e6:.2f} MB, '
      f'{dense / packed:.1f} times smaller | {cells} |'
    )
  return [*lines, f'loading takes {span(loads, 1)} times as long']


def faster() -> list[str]:
  """docs/faster.md: how many times as fast networks are."""
  rows = [
    row
    for name in ('latency', 'latency_convolutional')
    for row in load(f'cost/random/{name}/latency.json')['files']
  ]
  return latency_report.summary(rows)


def runs() -> list[str]:
  """What single runs reach."""
  shares = [
    load(f'run/cifar10/resnet20_{name}/results.json')['test_accuracy']
    for name in ('unilth', 'dense')
  ]
  ticket, dense = (f'{100 * share:.2f}%' for share in shares)
  examples = load('run/cifar10/resnet20_unilth/config.json')['train_examples']
  return [
    f'{ticket} at 90% zeros after 15 epochs on {examples:,} CIFAR-10 images, '
    f'dense {dense}.',
  ]


COSTS = (
  cost_table,
  cost_of_steps,
  cost_of_compiled_steps,
  cost_of_keras_3_steps,
  cost_of_mask_updates,
  memory_of_a_run,
  cost_of_the_import,
  input_pipeline,
  exports,
)
FASTER = (faster,)
RECIPES = (runs,)
