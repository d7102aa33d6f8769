"""The command ``isinglass think``."""
