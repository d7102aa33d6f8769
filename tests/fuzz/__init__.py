"""Malformed calls of everything public: a named error, or a right answer."""
