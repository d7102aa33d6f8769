"""The command ``isinglass imagine``."""
