"""The root of every error that rotator raises on purpose, and how its text is shown; imports nothing of rotator.

RotatorError
├── ConfigError            bad input: exit code 2, nothing was contacted or written
├── account_api.ApiError   the provider answered badly, or not at all
├── vault.VaultError       Vault answered badly, or not at all
└── rotation.RotationError the protocol stopped: what it found and what to do
"""


def visible(text: str) -> str:
    """A text in which whatever would act on a terminal is spelled out; only a plain line break stays one.

    Errors hold other people's words: an id, a holder's name, what a server said. None of them clears a screen, turns
    the direction of writing around or makes a line look like another.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text
    )


class RotatorError(Exception):
    """Something an operator can act on.

    Args:
        what: One sentence: what happened.
        unchanged: What was left untouched because of it ("" where that goes without saying).
        next_step: What to do now, a command where there is one ("" where nothing helps).
    """

    exit_code = 1
    maybe_done = False
    """Whether what it ended may have been carried out all the same."""

    def __init__(self, what: str, *, unchanged: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.unchanged = unchanged
        self.next_step = next_step

    def __str__(self) -> str:
        parts = (self.what, self.unchanged, self.next_step)
        return visible(" ".join(part.rstrip(".") + "." for part in parts if part))


class ConfigError(RotatorError):
    """The configuration or the command line is wrong; nothing was written anywhere."""

    exit_code = 2
