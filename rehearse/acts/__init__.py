"""The acts of a rehearsal: each carries what one stage made to the next, and knows nothing of the others."""
