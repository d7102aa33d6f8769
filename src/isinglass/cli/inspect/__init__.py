"""The command that looks into the heads of a trained model."""
