"""Everything that would be the same without Prefect. Each package imports only those below it (pyproject.toml)."""
