"""The table of the torture: which trials there are, and how they went."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any


@dataclasses.dataclass
class Row:
  """A line of the table: how many of how many trials went well."""

  name: str
  wanted: str
  well: int = 0
  trials: int = 0
  faults: list[str] = dataclasses.field(default_factory=list)

  def add(self, fault: str | None) -> None:
    """Counts a trial; a fault says in words what went wrong."""
    self.trials += 1
    self.well += fault is None
    if fault is not None:
      self.faults.append(fault)
      print(f'FAULT {self.name}: {fault}', flush=True)

  def __str__(self) -> str:
    return f'| {self.name} | {self.wanted} | {self.well} of {self.trials} |'


def trials(torture: Any, kills: int) -> Iterator[tuple[Row, ...]]:
  """Yields the rows of the table as they are done; fewer kills, fewer rows."""
  identical = 'ends bit-identical'
  at_once = 'one goes on, the other names its process and host'
  no_room = f'clear error, the one before intact; with room, {identical}'
  inside = 'saving, making masks, rewinding, switching stages, resuming'
  refuse = functools.partial(torture.refuse_room, whats=['flush', 'rename'])
  # How many for the recipe, and for the library.
  rows: list[tuple[str, str, Callable[[Row, int, str], None], int, int]] = [
    (
      'SIGKILL at a random moment',
      identical,
      torture.kill_at_random,
      (kills + 3) // 4,
      (kills + 1) // 4,
    ),
    (
      f'SIGKILL while {inside}',
      identical,
      torture.kill_at_points,
      (kills + 2) // 4,
      kills // 4,
    ),
    (
      'ten SIGKILLs in one run',
      identical,
      torture.kill_often,
      kills // 40,
      kills // 40,
    ),
    (
      'SIGTERM or SIGINT',
      f'exit code 143 or 130, saved, {identical}',
      torture.stop,
      kills // 12,
      kills // 12,
    ),
    (
      'a mounted disk of 4 MiB full at a random moment',
      no_room,
      torture.fill_disk,
      kills // 8,
      kills // 8,
    ),
    ('no room to flush or to rename', no_room, refuse, 0, kills // 12),
    (
      'two runs at once',
      at_once,
      torture.start_two,
      kills // 20,
      kills // 20,
    ),
  ]
  damaged = 'detected and named, the one before it used'
  cut = Row('checkpoint truncated, at every 1/64', damaged)
  flipped = Row('checkpoint with an altered byte', damaged)
  torture.damage(cut, flipped)
  yield cut, flipped
  for name, wanted, do, *counts in rows:
    for code, count in zip(('recipe', 'library'), counts, strict=True):
      if count:
        made = Row(f'{code}: {name}', wanted)
        do(made, count, code)
        yield (made,)


def keras_3_trials(torture: Any, kills: int) -> Iterator[tuple[Row, ...]]:
  """Yields the rows of the table for Keras 3 models as they are done."""
  identical = 'ends bit-identical'
  rows: list[tuple[str, str, Callable[[Row, int, str], None], int]] = [
    (
      'SIGKILL at a random moment',
      identical,
      torture.kill_at_random,
      (kills + 1) // 2,
    ),
    (
      'SIGKILL while saving, making masks, rewinding, switching stages, '
      'resuming',
      identical,
      torture.kill_at_points,
      kills // 2,
    ),
    ('ten SIGKILLs in one run', identical, torture.kill_often, kills // 40),
    (
      'SIGTERM or SIGINT',
      f'exit code 143 or 130, saved, {identical}',
      torture.stop,
      kills // 6,
    ),
  ]
  for name, wanted, do, count in rows:
    if count:
      made = Row(f'Keras 3: {name}', wanted)
      do(made, count, 'keras')
      yield (made,)
