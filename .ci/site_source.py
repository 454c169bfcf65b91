"""Lays out the pages of the site in a folder: `site_source.py FOLDER`.

The pages, notebooks and results keep their places, so that their links hold.
Notebooks become Markdown, folders that a page links to get a list of their
files, and the first mention of a public name in a guide links to the reference.
"""

import pathlib
import re
import shutil
import subprocess
import sys

from public_names import ROOT, link_names

_PAGES = 'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md'
_FOLDERS = 'docs', 'recipes/results'
_LINK = re.compile(r'\]\(([^)#\s:]+)(#[^)]*)?\)')


def main() -> None:
  """Writes the folder that the command line names, which must be new."""
  source = pathlib.Path(sys.argv[1])
  for folder in _FOLDERS:
    shutil.copytree(ROOT / folder, source / folder)
  for page in _PAGES:
    shutil.copy(ROOT / page, source / page)
  _convert_notebooks(source / 'docs' / 'notebooks')
  pages = list(source.rglob('*.md'))
  for page in pages:
    text = _follow_links(page, page.read_text(), source)
    if source / 'docs' in page.parents or page == source / 'README.md':
      text = link_names(text, once=True)
    page.write_text(text)


def _convert_notebooks(folder: pathlib.Path) -> None:
  """Replaces notebooks by Markdown, and their programs by nothing."""
  notebooks = sorted(folder.glob('*.ipynb'))
  command = [sys.executable, '-m', 'nbconvert', '--to', 'markdown']
  subprocess.run([*command, *notebooks], check=True)
  for path in (*notebooks, *folder.glob('*.py')):
    path.unlink()


def _follow_links(page: pathlib.Path, text: str, source: pathlib.Path) -> str:
  """Adds what a page links to, and names the page of a linked folder."""

  def follow(found: re.Match[str]) -> str:
    target = (page.parent / found[1]).resolve()
    if target.is_dir():
      _list_files(target)
      return f']({found[1].rstrip("/")}/README.md)'
    if target.suffix == '.ipynb':
      return f']({found[1].removesuffix(".ipynb")}.md)'
    if not target.exists():  # Of the checkout, but no part of the site.
      target.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / target.relative_to(source.resolve()), target)
    return found[0]

  return _LINK.sub(follow, text)


def _list_files(folder: pathlib.Path) -> None:
  """Writes a page with links to the files of a folder, if it has none."""
  page = folder / 'README.md'
  if not page.exists():
    names = sorted(path.name for path in folder.iterdir())
    links = ''.join(f'- [{name}]({name})\n' for name in names)
    page.write_text(f'# {folder.name}\n\n{links}')


if __name__ == '__main__':
  main()
