"""Actions as units: spaces, masks and the energies whose value of an action is Q = −F."""
