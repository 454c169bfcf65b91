"""A disk that loses what was not synchronised, as POSIX allows it.

It follows recorded operations. At a power cut, each file has the content of its
last fsync, and of the writes after it none, some or parts; each folder has the
names of its own last fsync, and of the changes after it none or some. An fsync
of a file keeps its content, not its name. A rename happens as a whole or not at
all.
"""

import dataclasses
import os
import pathlib
import random
from collections.abc import Sequence
from typing import TypeVar

from tests.stress.file_shim import Operation

_SECTOR = 512  # Bytes that a disk writes as a whole.


@dataclasses.dataclass(frozen=True)
class _Write:
  """Bytes at an offset; or a new length, if there are none."""

  offset: int
  data: bytes | None


class _File:
  """A file: what is synchronised, and the writes since."""

  def __init__(self) -> None:
    self.synced = b''
    self.pending: list[_Write] = []

  def after_cut(self, which: str, rng: random.Random) -> bytes:
    """Returns the content that survives; `which` as in `Loss`."""
    if which == 'torn':
      return _written(self.synced, _torn(self.pending, rng))
    return _written(self.synced, _surviving(self.pending, which, rng))


class _Folder:
  """A folder: the names that are synchronised, and those that a run sees."""

  def __init__(self) -> None:
    self.synced: dict[str, _Node] = {}
    self.names: dict[str, _Node] = {}


_Node = _File | _Folder
# Names that change together; `None` removes one.
_Change = list[tuple[_Folder, str, _Node | None]]
_T = TypeVar('_T')


@dataclasses.dataclass(frozen=True)
class Loss:
  """What a power cut does with what was not synchronised.

  Args:
    names: which changes of folders survive: 'none', 'all', 'first' (a random
      number of the first ones), 'some' (each by chance, so also out of order).
    writes: likewise for the writes of each file; 'torn' cuts the last one that
      survives at the border of a sector.
  """

  names: str
  writes: str


LOSSES = {
  'all that was not synchronised is lost': Loss('none', 'none'),
  'nothing is lost': Loss('all', 'all'),
  'names survive, contents are lost': Loss('all', 'none'),
  'names survive, contents are torn': Loss('all', 'torn'),
  'both are cut off at some operation': Loss('first', 'torn'),
  'both are reordered': Loss('some', 'some'),
}


class Disk:
  """The folder of a run, after some of its operations.

  Args:
    root: the folder, whose name the recorded paths begin with. It is empty at
      first.
  """

  def __init__(self, root: pathlib.Path):
    self.mark = 0  # The last one.
    self._root = os.fspath(root)
    self._top = _Folder()
    self._opened: dict[int, _Node] = {}
    # Of all folders, in order: what no fsync of a folder has made to stay.
    self._changes: list[_Change] = []

  def apply(self, operation: Operation) -> None:
    """Follows an operation."""
    getattr(self, f'_{operation.name}')(operation)

  def after_cut(
    self, loss: Loss, rng: random.Random
  ) -> dict[str, bytes | None]:
    """Returns the files that a power cut leaves.

    Args:
      loss: what is lost.
      rng: decides where chance does.

    Returns:
      The contents by relative path; `None` is a folder.
    """
    names: dict[int, dict[str, _Node]] = {}
    for change in _surviving(self._changes, loss.names, rng):
      for folder, name, node in change:
        _set(names.setdefault(id(folder), dict(folder.synced)), name, node)
    found: dict[str, bytes | None] = {}
    todo: list[tuple[str, _Node]] = [('', self._top)]
    while todo:
      path, node = todo.pop()
      if isinstance(node, _File):
        found[path] = node.after_cut(loss.writes, rng)
        continue
      if path:
        found[path] = None
      inside = names.get(id(node), node.synced)
      todo += [(os.path.join(path, n), inside[n]) for n in sorted(inside)]
    return found

  def check(self) -> None:
    """Compares the disk with the real folder, once all is applied.

    Raises:
      AssertionError: they differ, so the shim has missed an operation.
    """
    ours = self.after_cut(LOSSES['nothing is lost'], random.Random(0))
    real = {
      os.path.relpath(path, self._root): None
      if path.is_dir()
      else path.read_bytes()
      for path in pathlib.Path(self._root).rglob('*')
    }
    differ = sorted(
      path
      for path in {*ours, *real}
      if (path in ours, ours.get(path)) != (path in real, real.get(path))
    )
    assert not differ, f'the shim missed what was done to {differ}'

  def _place(self, path: bytes) -> tuple[_Folder, str]:
    """Returns the folder that a path is in, and the name there."""
    relative = os.path.relpath(os.fsdecode(path), self._root)
    *parents, name = relative.split(os.sep)
    folder = self._top
    for parent in parents:
      inner = folder.names[parent]
      assert isinstance(inner, _Folder)
      folder = inner
    return folder, name

  def _change(self, *parts: tuple[tuple[_Folder, str], _Node | None]) -> None:
    change = [(folder, name, node) for (folder, name), node in parts]
    self._changes.append(change)
    for folder, name, node in change:
      _set(folder.names, name, node)

  # Operations.

  def _open(self, operation: Operation) -> None:
    folder, name = self._place(operation.first)
    node = folder if name == '.' else folder.names.get(name)
    if node is None:
      node = _File()
      self._change(((folder, name), node))
    elif isinstance(node, _File) and operation.value & os.O_TRUNC:
      node.pending.append(_Write(0, None))
    self._opened[operation.number] = node

  def _write(self, operation: Operation) -> None:
    file = self._opened[operation.number]
    assert isinstance(file, _File)
    file.pending.append(_Write(operation.value, operation.first))

  def _size(self, operation: Operation) -> None:
    file = self._opened[operation.number]
    assert isinstance(file, _File)
    file.pending.append(_Write(operation.value, None))

  def _fsync(self, operation: Operation) -> None:
    node = self._opened[operation.number]
    if isinstance(node, _File):
      node.synced, node.pending = _written(node.synced, node.pending), []
      return
    kept = []
    for change in self._changes:
      if not any(folder is node for folder, _, _ in change):
        kept.append(change)
        continue
      for folder, name, target in change:
        # Of a rename from elsewhere, the old name goes with it.
        _set(folder.synced, name, target)
        kept = [_without(earlier, folder, name) for earlier in kept]
    self._changes = [change for change in kept if change]

  def _close(self, operation: Operation) -> None:
    self._opened.pop(operation.number, None)

  def _rename(self, operation: Operation) -> None:
    old, new = self._place(operation.first), self._place(operation.second)
    node = old[0].names[old[1]]
    if old != new:
      self._change((old, None), (new, node))

  def _unlink(self, operation: Operation) -> None:
    self._change((self._place(operation.first), None))

  def _mkdir(self, operation: Operation) -> None:
    self._change((self._place(operation.first), _Folder()))

  def _mark(self, operation: Operation) -> None:
    self.mark = operation.number


def _set(names: dict[str, _Node], name: str, node: _Node | None) -> None:
  names.pop(name, None)
  if node is not None:
    names[name] = node


def _without(change: _Change, folder: _Folder, name: str) -> _Change:
  """Returns a change without what a later one has done to the same name."""
  return [part for part in change if (part[0], part[1]) != (folder, name)]


def _surviving(items: Sequence[_T], which: str, rng: random.Random) -> list[_T]:
  """Returns the items that survive; `which` as in `Loss`."""
  if which == 'none':
    return []
  if which == 'some':
    return [item for item in items if rng.random() < 0.5]
  if which == 'first':
    return list(items[: rng.randint(0, len(items))])
  return list(items)


def _torn(writes: list[_Write], rng: random.Random) -> list[_Write]:
  """Returns the first ones, the last of which may be cut at a sector."""
  writes = writes[: rng.randint(0, len(writes))]
  if writes and writes[-1].data:
    last = writes[-1]
    sectors = len(last.data or b'') // _SECTOR
    length = _SECTOR * rng.randint(0, sectors)
    writes[-1] = _Write(last.offset, (last.data or b'')[:length])
  return writes


def _written(content: bytes, writes: Sequence[_Write]) -> bytes:
  """Returns a file's content after writes; gaps are zeros."""
  found = bytearray(content)
  for write in writes:
    length = write.offset + len(write.data or b'')
    found.extend(bytes(max(0, length - len(found))))
    if write.data is None:
      del found[write.offset :]
    else:
      found[write.offset : length] = write.data
  return bytes(found)
