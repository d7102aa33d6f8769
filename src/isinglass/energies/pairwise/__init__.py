"""Boltzmann machines of pairs: any unit joined to any other, dense, sparse or on a grid."""
