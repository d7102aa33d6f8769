"""The pictures of the documentation, drawn from the library itself."""
