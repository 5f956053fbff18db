"""What compares layers and gives numbers: probing and its statistics."""
