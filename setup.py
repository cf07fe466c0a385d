"""The one thing that pyproject.toml cannot say: the C library's binding is built with the package."""

from setuptools import setup

setup(cffi_modules=["native/_build.py:ffibuilder"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
