"""What makes ink of results: tables and figures; computes nothing."""
