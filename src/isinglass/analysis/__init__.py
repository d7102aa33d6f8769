"""What memories and attention weights say about themselves: metastability and capacity."""
