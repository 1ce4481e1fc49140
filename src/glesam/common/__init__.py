"""What every room uses: files written in one step, processes, messages."""
