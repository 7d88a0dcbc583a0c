"""What others' tools are given to run beside us."""
