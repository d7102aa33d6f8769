"""What every room shares and no user sees: annotations, validation, names in files, progress."""
