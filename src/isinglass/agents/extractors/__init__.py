"""Features of what is seen: sets, propositions, and what the episode has shown before."""
