"""The small nets that the lab ships: trained here, reproducibly, and written into the package."""
