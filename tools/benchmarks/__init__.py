"""What tools/bench measures, how it runs that, and its arithmetic."""
