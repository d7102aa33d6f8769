"""Loaders: a file or folder if given, else what an installed package bundles."""
