"""The command ``isinglass act``."""
