"""Learning from logged data: reading it, who acted in it, and the backup that knows."""
