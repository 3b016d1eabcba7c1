"""How often one run repeats itself."""

# How often one run sends the same unanswered request.
MAX_SENDS = 3
# How many values the provider may refuse in one run.
MAX_VALUES = 3
# How many lists may disagree before an id cannot be eliminated.
MAX_RESTARTS = 3
