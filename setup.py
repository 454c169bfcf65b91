"""Builds and installs tf_unilth; the recipes run from a checkout."""

import pathlib
import re

import setuptools

_TF = '>=2.16'

_EXTRAS = {
  # The same TensorFlow with its CUDA libraries.
  'and-cuda': [f'tensorflow[and-cuda]{_TF}'],
  # Backends of Keras 3 besides TensorFlow.
  'jax': ['jax>=0.4.30'],
  'torch': ['torch>=2.4'],
  # Bayesian search needs scikit-learn, which this extra of theirs brings.
  'tuner': ['keras-tuner[bayesian]>=1.4.7'],
  # TensorFlow 2.21 no longer brings it.
  'tensorboard': ['tensorboard'],
  'report': ['matplotlib>=3.8'],
  # The recipes: tables, and the default data, scikit-learn's digits.
  'data': ['pandas>=2.1', 'scikit-learn>=1.3', 'tabulate>=0.9'],
}
# What makes the site, and the notebooks of docs/.
_EXTRAS['docs'] = [
  *_EXTRAS['data'],
  *_EXTRAS['report'],
  'ipykernel>=7.4',
  'jupytext>=1.19',
  'mkdocstrings[python]>=1.0',
  'nbconvert>=7.17',
  # Lays out the signatures of the reference.
  'ruff>=0.6',
  'zensical>=0.0.73',
]
_EXTRAS['test'] = [
  *_EXTRAS['data'],
  *_EXTRAS['report'],
  *_EXTRAS['tensorboard'],
  *_EXTRAS['tuner'],
  'hypothesis>=6.100',
  'mypy>=1.11',
  'pytest>=8',
  'pytest-xdist>=3.8',
  'ruff>=0.6',
]


def long_description() -> str:
  """Returns the README without what needs the other files of the checkout.

  These are its picture, its list of guides and the targets of its links.
  """
  text = pathlib.Path(__file__).with_name('README.md').read_text()
  text = re.sub(r'^## (A run|Guides)\n.*?(?=^## )', '', text, flags=re.M | re.S)
  return re.sub(r'\[([^]]*)\]\((?!https:)[^)]*\)', r'\1', text)


setuptools.setup(
  name='tf_unilth',
  version='0.2.0',
  description='Lottery tickets for Keras models, found or made: UniLTH, '
  'UniDLTH, LTH and DLTH on tensorflow-model-optimization.',
  long_description=long_description(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  keywords='keras tensorflow jax torch pruning sparsity lottery-ticket tflite',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Intended Audience :: Developers',
    'Intended Audience :: Science/Research',
    'Operating System :: OS Independent',
    *(f'Programming Language :: Python :: 3.{n}' for n in range(10, 14)),
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Typing :: Typed',
  ],
  packages=setuptools.find_packages(include=['tf_unilth', 'tf_unilth.*']),
  package_data={'tf_unilth': ['py.typed']},
  entry_points={
    'console_scripts': ['tf-unilth=tf_unilth.inspection.command:main']
  },
  python_requires='>=3.10',
  install_requires=[
    'absl-py>=1.2',
    'filelock>=3.30',
    # TensorFlow brings it, but older ones may bring one that lacks private
    # names of `engines/private_names.py`.
    'keras>=3.7',
    # TensorFlow's own: bfloat16 for NumPy.
    'ml_dtypes',
    'numpy>=1.26',
    'safetensors>=0.4.3',
    # tfmot imports distutils, which Python 3.12 left to setuptools.
    'setuptools',
    f'tensorflow{_TF}',
    'tensorflow-model-optimization>=0.8.1',
    f'tf-keras{_TF}',
  ],
  extras_require=_EXTRAS,
)
