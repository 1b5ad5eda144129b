"""The words of the field, as frozen values and plain functions. The standard library, and nothing else."""
