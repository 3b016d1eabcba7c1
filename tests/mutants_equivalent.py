"""Lines of deploy/ that can be wrong without any test seeing it, and why; for mutants_deploy."""

# (file, "left out" or "garbled" or "both", the line): why
EQUIVALENT: dict[tuple[str, str, str], str] = {}
