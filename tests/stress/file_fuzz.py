"""Damages files that the library and the recipes read, guided by coverage.

  python -m tests.stress.file_fuzz --format=ticket --count=100000 --seed=0 \\
    --output=ticket.json

A read must end as documented: it accepts the file, or raises the error that its
docstring names. All else is a failure: another error, code that runs, a path
outside the folder, more memory than a small multiple of the file, a read that
does not end. `atheris` (for developers: `pip install atheris`) leads the search
by the branches that a file reaches; without it, or with `--engine=lines`, the
lines do, which is slower.

With `--output` the counts are also kept in OUTPUT.part. The same command
continues a run that was stopped, and then draws other files.
"""

import collections
import importlib.metadata
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable
from typing import Any

from absl import flags

# Of its own, since the recipes have some of the names.
_FLAGS = flags.FlagValues()
_FORMAT = flags.DEFINE_string(
  'format', 'ticket', 'What to damage.', flag_values=_FLAGS
)
_COUNT = flags.DEFINE_integer(
  'count', 100_000, 'Files to read.', 1, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'What all is drawn from.', 0, flag_values=_FLAGS
)
_ENGINE = flags.DEFINE_enum(
  *('engine', 'atheris', ['atheris', 'lines'], 'What leads the search.'),
  flag_values=_FLAGS,
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'A JSON file to write.', flag_values=_FLAGS
)

_MAX_LENGTH = 1 << 16
_MEASURE = 16
_OUTCOMES = ('accepted', 'refused', 'failed')
_KEPT = 1000  # Each how many files the counts are written.
_SHARED_MEMORY = '/dev/shm'
_MAX_SHOWN = 20


class Fuzz:
  """Reads damaged files of a format, and counts what came of them.

  Args:
    name: of the format.
    folder: an empty folder.
    part: a file for the counts, which a stopped run has begun; `None` for none.
  """

  def __init__(
    self, name: str, folder: pathlib.Path, part: pathlib.Path | None = None
  ):
    # Here, so that atheris sees the modules being imported.
    from tests.testing import file_formats, file_mutations, guarded_read

    self.form = file_formats.FORMATS[name]
    self._mutate = file_mutations.mutate
    self.guard = guarded_read.Guard(self.form, folder, _MEASURE)
    self.names = sorted(self.guard.seeds)
    self.counts: collections.Counter[str] = collections.Counter()
    self.failures: dict[str, bytes] = {}
    self.peak, self.seconds = 0, 0.0
    self._accepted = guarded_read.ACCEPTED
    self._failed = guarded_read.FAILED
    self._part, self._began = part, time.monotonic()
    self._seconds_before = 0.0
    if part is not None and part.exists():
      self._continue(json.loads(part.read_text()))
    self.check_seeds()

  def _continue(self, before: dict[str, Any]) -> None:
    self.counts.update({kind: before[kind] for kind in _OUTCOMES})
    self.peak, self.seconds = before['peak_bytes'], before['slowest_seconds']
    self._seconds_before = 60 * before['minutes']
    for text in before['failures']:
      self.failures[text] = b''

  @property
  def executions(self) -> int:
    """How many files were read."""
    return sum(self.counts.values())

  @property
  def minutes(self) -> float:
    """How long it took."""
    return (self._seconds_before + time.monotonic() - self._began) / 60

  def check_seeds(self) -> None:
    """Reads the intact files, which imports what reading needs.

    Raises:
      AssertionError: one of them is not accepted.
    """
    self.guard.warm_up()
    for name in self.names:
      outcome = self.guard.read(name, self.guard.seeds[name])
      assert outcome.kind == self._accepted, (name, outcome)

  def encoded_seeds(self) -> list[bytes]:
    """Returns the intact files, each after the number of its name."""
    return [
      bytes([number]) + self.guard.seeds[name]
      for number, name in enumerate(self.names)
    ]

  def mutate(self, data: bytes, draw: random.Random) -> bytes:
    """Returns another file of the same name."""
    other = self.guard.seeds[draw.choice(self.names)]
    content = self._mutate(data[1:], self.form.structure, draw, other)
    return data[:1] + content

  def read(self, data: bytes) -> None:
    """Reads a file, and counts it."""
    name = self.names[data[0] % len(self.names) if data else 0]
    outcome = self.guard.read(name, data[1:])
    self.counts[outcome.kind] += 1
    self.peak = max(self.peak, outcome.peak)
    self.seconds = max(self.seconds, outcome.seconds)
    if outcome.kind == self._failed:
      # Of errors that differ in numbers alone, one is kept.
      key = ''.join(c for c in outcome.text[:120] if not c.isdigit())
      if key not in self.failures:
        self.failures[key] = data
        print(f'FAILED {name}: {outcome.text}\n  {data[:300]!r}', flush=True)
    if self._part is not None and self.executions % _KEPT == 0:
      self._keep(self._part)

  def _keep(self, part: pathlib.Path) -> None:
    from recipes.common import files

    found = {**self.result(), 'minutes': self.minutes}
    files.write_json(part, {**found, 'failures': [*self.failures]})

  def result(self) -> dict[str, Any]:
    """Returns what was counted."""
    return {
      'executions': self.executions,
      **{kind: self.counts[kind] for kind in _OUTCOMES},
      'peak_bytes': self.peak,
      'slowest_seconds': round(self.seconds, 3),
    }


def run_lines(fuzz: Fuzz, count: int, seed: int) -> None:
  """Fuzzes; a file that reaches a new line of ours is damaged further."""
  draw, seen = random.Random(seed), set()
  corpus = fuzz.encoded_seeds()
  new: list[tuple[str, int]] = []

  def trace(frame: types.FrameType, event: str, _: Any) -> Any:
    name = frame.f_code.co_filename
    if 'tf_unilth/' not in name and '/recipes/' not in name:
      return None
    if event == 'line' and (name, frame.f_lineno) not in seen:
      seen.add((name, frame.f_lineno))
      new.append((name, frame.f_lineno))
    return trace

  while fuzz.executions < count:
    data = fuzz.mutate(draw.choice(corpus), draw)
    new.clear()
    before = sys.gettrace()  # Such as that which measures coverage.
    sys.settrace(trace)
    try:
      fuzz.read(data)
    finally:
      sys.settrace(before)
    if new:
      corpus.append(data)


def run_atheris(
  made: Callable[[], Fuzz],
  folder: pathlib.Path,
  count: int,
  seed: int,
  finish: Callable[[Fuzz], None],
) -> None:
  """Fuzzes by libFuzzer, which ends the process: `finish` does it."""
  import atheris

  with atheris.instrument_imports(include=['tf_unilth', 'recipes']):
    fuzz = made()
  corpus = folder / 'corpus'
  corpus.mkdir()
  for number, data in enumerate(fuzz.encoded_seeds()):
    (corpus / str(number)).write_bytes(data)

  def one(data: bytes) -> None:
    fuzz.read(data)
    if fuzz.executions >= count:
      finish(fuzz)

  def mutated(data: bytes, max_size: int, number: int) -> bytes:
    draw = random.Random(number)
    if not data or draw.random() < 0.3:
      return atheris.Mutate(data, max_size)
    return fuzz.mutate(data, draw)[:max_size]

  # Other files than those of a run that was stopped.
  seed += fuzz.executions
  arguments = [f'-seed={seed + 1}', f'-max_len={_MAX_LENGTH}', '-verbosity=0']
  arguments.append('-mutate_depth=2')  # A digest matches after one.
  arguments.append('-rss_limit_mb=0')  # TensorFlow takes more than libFuzzer's.
  atheris.Setup(
    [sys.argv[0], *arguments, str(corpus)],
    *(one,),
    custom_mutator=mutated,
  )
  atheris.Fuzz()


def _report(fuzz: Fuzz) -> None:
  from recipes.common import files, provenance

  found = {'seed': _SEED.value, 'engine': _ENGINE.value, **fuzz.result()}
  if _ENGINE.value == 'atheris':
    found['engine'] += f' {importlib.metadata.version("atheris")}'
  minutes = fuzz.minutes
  print(f'{_FORMAT.value}: {found}, {minutes:.1f} minutes', flush=True)
  if _OUTPUT.value:
    content = {**provenance.record(), 'minutes': minutes, 'found': found}
    files.write_json(pathlib.Path(_OUTPUT.value), content)


def main(argv: list[str]) -> None:
  """Fuzzes; leaves with 1 if anything failed."""
  _FLAGS(argv)
  # In memory where the system has such a folder.
  shared = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
  folder = pathlib.Path(tempfile.mkdtemp(dir=shared))
  part = pathlib.Path(_OUTPUT.value + '.part') if _OUTPUT.value else None

  def finish(fuzz: Fuzz) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _report(fuzz)
    if part is not None and not fuzz.failures:
      part.unlink(missing_ok=True)
    # libFuzzer does not let SystemExit pass.
    os._exit(bool(fuzz.failures))

  def made() -> Fuzz:
    return Fuzz(_FORMAT.value, folder / 'files', part)

  count, seed = _COUNT.value, _SEED.value
  if _ENGINE.value == 'atheris':
    run_atheris(made, folder, count, seed, finish)
  fuzz = made()
  run_lines(fuzz, count, seed + fuzz.executions)
  finish(fuzz)


if __name__ == '__main__':
  main(sys.argv)
