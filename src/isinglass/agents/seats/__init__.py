"""Games of several seats: opponents from the past, environments where all seats learn."""
