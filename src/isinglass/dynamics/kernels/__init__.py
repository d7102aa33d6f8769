"""The kernels, one a file."""
