"""The run folder: written as the run goes, read back by `rehearse judge` and `rehearse report`."""
