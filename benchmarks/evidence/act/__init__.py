"""The figures of the agents: FreeEnergyQ and its peers, at equal steps and equal wall-clock."""
