"""The change: executes the migration's files as they would be run, and reads what each statement did."""
