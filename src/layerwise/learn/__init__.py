"""What sees a label: heads, their training, metrics, and the ways to cut rows into parts."""
