"""The catalogue of schema operations as executed examples: data, a runner, and a table of results."""
