"""How isinglass compares: speed beside its peers, and the evidence for what the docs claim."""
