"""The command ``isinglass remember``, also called ``recall``."""
