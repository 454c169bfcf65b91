"""Recipes: experiments on standard data, run with `python -m recipes.NAME`."""
