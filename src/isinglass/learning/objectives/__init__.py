"""What learning lowers: one objective a file."""
