"""The site and the package's description name what there is."""

import re

import pytest

import tf_unilth
from tests.documents.document_numbers import ROOT
from tf_unilth import inspection, tuner

_REFERENCE = sorted((ROOT / 'docs' / 'api').glob('*.md'))


@pytest.mark.parametrize('package', [tf_unilth, inspection, tuner])
def test_each_public_name_is_on_one_page_of_the_reference(package):
  text = '\n'.join(page.read_text() for page in _REFERENCE)
  index = (ROOT / 'docs' / 'api' / 'README.md').read_text()
  for name in package.__all__:
    full = rf'^::: {package.__name__}\.(?:{name}\.)?{name}$'
    assert len(re.findall(full, text, re.M)) == 1, name
    assert f'`{name}`' in index, name


def test_each_page_is_in_the_navigation_of_the_site():
  navigation = (ROOT / 'mkdocs.yml').read_text()
  # The site has notebooks as Markdown.
  notebooks = [
    path.with_suffix('.md')
    for path in (ROOT / 'docs' / 'notebooks').glob('*.ipynb')
  ]
  pages = [*(ROOT / 'docs').glob('*.md'), *_REFERENCE, *notebooks]
  assert len(notebooks) >= 4 and len(pages) > 30
  for page in (str(page.relative_to(ROOT)) for page in pages):
    assert re.search(rf' {page}$', navigation, re.M), page


def test_the_description_of_the_package_stands_alone():
  functions = (ROOT / 'setup.py').read_text().partition('setuptools.setup(')[0]
  names = {'__file__': str(ROOT / 'setup.py')}
  exec(functions, names)
  text = names['long_description']()
  assert '](' in (ROOT / 'README.md').read_text()
  assert not re.search(r'\]\((?!https://)', text)
  for heading in ('## Install', '## Limits', '## Citation'):
    assert heading in text
