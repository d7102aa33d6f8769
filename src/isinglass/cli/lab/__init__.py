"""``isinglass lab``: rooms to play with energies in, served on this machine or in one file."""
