"""Rules about ids: which one is the published secret's, and how far that can be trusted."""

from datetime import timedelta

from rotator.core.protocol import transitions
from rotator.core.protocol.journal import Identity, ids_of
from rotator.core.protocol.limits import MAX_RESTARTS
from rotator.core.protocol.observation import is_recorded
from rotator.core.protocol.situation import LONGEST_PAUSE, Situation
from rotator.core.protocol.steps import (
    Awaited,
    Command,
    Credential,
    Event,
    Fail,
    Failure,
    Poll,
    ReadRecorded,
    Step,
    WriteJournal,
)
from rotator.core.protocol.wording import MOVE_FIRST, NAME_BOTH, count_of, names_of, naming


def recognize(case: Situation) -> Step | None:
    """Take over a published document that the journal does not speak of: a new one, or one changed by hand."""
    journal = case.journal
    seen = case.seen
    if seen.via is not Credential.PUBLISHED:
        return None
    recorded = is_recorded(journal, seen.published)
    if journal.current is not None and not recorded and not seen.recorded_read:
        return ReadRecorded()
    if seen.identified is not None and not (recorded and _says_nothing_new(journal.current, seen.identified)):
        return WriteJournal(Event.ADOPTED, transitions.adopted(case, seen.identified, retire_previous=seen.replaced))
    if recorded:
        return _take_over(case) if journal.current is None else None
    if journal.current is not None and seen.recorded == seen.published.secret:
        return WriteJournal(Event.CAUGHT_UP, transitions.recorded_again(case))
    return _take_over(case)


def _renamed(named: str | None, pool: frozenset[str]) -> str:
    """Say which id is probably the published secret's, of an account whose journal does not contain it."""
    if named not in pool:
        return ""
    return (
        f"The published document names {named}, which is right unless a person changed the value there or copied "
        "another document. "
    )


def _says_nothing_new(known: Identity | None, identified: Identity) -> bool:
    """Whether an identity is known already. The provider's own answer is worth more than anything else."""
    return known is not None and known.id == identified.id and (known.is_answered or known == identified)


def _take_over(case: Situation) -> Step:
    """Begin to eliminate the id of a published value that another writer published."""
    journal = case.journal
    seen = case.seen
    current = journal.current
    replaced = seen.recorded is not None
    foreign = ids_of(current.id if current is not None and current.is_answered and replaced else None)
    pool = case.listed - foreign - case.gone - ids_of(case.candidate_id)
    if len(pool) > 1 and not _leads_out(case):
        # This is no proof: an edit of the value leaves secret_id unchanged, and a copy of another document brings one.
        named = seen.published.secret_id if current is None or seen.published.secret_id != current.id else None
        return Fail(
            Failure.AMBIGUOUS,
            f"the published secret authenticates, but one of several ids is its own: {names_of(pool)}",
            naming(case.policy.account, pool),
            f"{_renamed(named, pool)}rotator takes the value from Vault. {NAME_BOTH}",
        )
    guess = next(iter(pool)) if len(pool) == 1 else None
    identity = transitions.pending(case, foreign_ids=foreign, guess=guess)
    return WriteJournal(Event.ADOPTED, transitions.adopted(case, identity, retire_previous=replaced))


def eliminate(case: Situation) -> Step | None:
    """Count a list for the published secret's pending id.

    At this point, a candidate in hand does not authenticate. A list that shows one possible id counts nevertheless:
    by then it shows the published secret's id, so no other one can be it. Otherwise a candidate that has no room would
    wait for an id that waits for the candidate.
    """
    current = case.journal.current
    if current is None or not current.is_pending or not _counts(case, current):
        return None
    pool = case.pool_of(current)
    found = next(iter(pool), None)
    agrees = len(pool) == 1 and (current.looks == 0 or found == current.id)
    if agrees and found is not None:
        identity = transitions.counted(case, current, found)
        if identity.is_pending:
            return WriteJournal(Event.LOOKED, transitions.looked(case, identity))
        return WriteJournal(Event.IDENTIFIED, transitions.identified(case, identity))
    if case.journal.candidate is not None:
        return None
    if len(pool) > 1 or current.restarts >= MAX_RESTARTS:
        return None if _leads_out(case) else doubtful(case)
    return WriteJournal(Event.LOOKED, transitions.looked(case, transitions.restarted(case, current, found)))


def eliminate_retiring(case: Situation) -> Step | None:
    """Count a list for a retiring secret whose id was pending when it was replaced.

    Beside a candidate in hand, only a list that agrees counts: another id can be the candidate's. If none counted, a
    candidate without room would wait for an entry that waits for the candidate.
    """
    if case.journal.current_id not in case.listed:
        return None
    for entry in case.journal.retiring:
        identity = entry.identity
        if identity is None or not identity.is_pending or not _counts(case, identity):
            continue
        others = case.explained - {entry.id} | {case.journal.current_id} | identity.foreign_ids
        found: Identity | None = None
        if case.listed - others == {entry.id}:
            found = transitions.counted(case, identity, entry.id)
        elif case.journal.candidate is not None:
            continue
        elif entry.id not in case.listed:
            found = transitions.restarted(case, identity, entry.id)  # a list that lacks an id is no reason to forget it
        event = Event.LOOKED if found is None or found.is_pending else Event.IDENTIFIED
        return WriteJournal(event, transitions.looked_at_retiring(case, entry, found))
    return None


def _counts(case: Situation, identity: Identity) -> bool:
    """Whether the list counts for a pending id: fetched with the published secret, and late enough."""
    at = case.look_at(identity)
    return (at is None or at <= case.listed_at) and case.seen.via is Credential.PUBLISHED


def await_look(case: Situation) -> Step | None:
    """If something due rests on a pending id whose next list counts in a moment, wait for that."""
    if case.journal.candidate is not None or case.seen.via is not Credential.PUBLISHED:
        return None
    waiting = [entry for entry in case.journal.retiring if case.may_retire(entry) <= case.now]
    looks = (
        [case.look_at(case.journal.current), *(case.look_at(entry.identity) for entry in waiting)] if waiting else []
    )
    # The list at hand has counted already, if it could.
    delays = [max(at - case.now, timedelta()) for at in looks if at is not None and at > case.listed_at]
    if not delays or case.seen.paused + max(delays) > LONGEST_PAUSE:
        return None
    return Poll(max(delays), Awaited.LOOK)


def name_doubt(case: Situation) -> Step | None:
    """Listed ids that make the published secret's id doubtful: nothing is revoked until that is decided."""
    return doubtful(case) if case.shows_doubt and not _leads_out(case) else None


def _leads_out(case: Situation) -> bool:
    """Whether a rotation that a person asked for can begin: there is room. The provider answers the new secret's id."""
    return case.requested and case.policy.begins and not case.full


def doubtful(case: Situation) -> Fail:
    """The failure of an account whose published secret can have one of several ids."""
    current = case.journal.current
    if current is not None and current.is_pending:
        ids = case.pool_of(current)
    else:
        ids = case.doubtful_ids | case.journal.named_ids
    if ids:
        what = f"one of these ids is the published secret's: {names_of(ids)}"
    else:
        what = f"the provider lists no id that can be the published secret's; it lists {names_of(case.listed)}"
    if current is not None and current.is_named:
        what = f"{what}; a person named {current.id}"
    command, advice = way_out(case)
    return Fail(Failure.AMBIGUOUS, what, command, advice)


def way_out(case: Situation) -> tuple[Command, str]:
    """Return the command that ends a doubt about the published secret's id, and its effect.

    The provider answers the id of a new secret. Without room for one, a person decides. To name an id is not enough,
    because that does not tell what the other ids are.
    """
    account = case.policy.account
    if not case.full and case.journal.candidate is None:
        return Command.of("rotate-now", account), "Publish a secret whose id is certain"
    command = Command.of("adopt", account, "--secret-id", "ID", "--retire", "OTHER_ID")
    return command, "Name the published secret's id, and another secret that you do not need"


def name_unknown(case: Situation) -> Step | None:
    """Listed ids that rotator cannot account for. One of them can be the published secret's if its id is not listed.

    A rotation that a person asked for does not wait until they are explained: the published secret can have leaked.
    """
    if case.in_doubt or case.lacks_published or not case.unknown or _leads_out(case):
        return None
    unknown = case.unknown - case.unconfirmed
    if not unknown:
        return unconfirmed(case)
    what = f"the account holds {count_of(unknown)} that rotator did not create: {names_of(unknown)}"
    account = case.policy.account
    current = case.journal.current_id
    if unknown == {case.seen.published.secret_id}:
        # `resolve` spares the id that the published document names. An edit by hand might have left it there.
        command = Command.of("adopt", account, "--secret-id", current or "ID")
        advice = "The published document names this id. Name the published secret's own"
        return Fail(Failure.AMBIGUOUS, what, command, advice)
    return Fail(Failure.AMBIGUOUS, what, Command.of("resolve", account), MOVE_FIRST)


def unconfirmed(case: Situation) -> Fail:
    """The failure of an account that holds an id which was first seen a moment ago: it can be the published secret's.

    It is called unknown once a later list confirms it.
    """
    ids = case.unconfirmed
    what = f"the provider lists {names_of(ids)}, and no later list confirms that the published secret has another id"
    account = case.policy.account
    if not case.resolvable_later:
        return Fail(Failure.AMBIGUOUS, what, Command.of("rotate-now", account, "--due"), "Look again in a moment")
    return Fail(Failure.AMBIGUOUS, what, Command.of("resolve", account), "Wait for a later list, then decide")


def await_listed(case: Situation) -> Step | None:
    """The published secret's certain id is not listed: ask again for the consistency window, then say so."""
    id_ = case.journal.current_id
    if id_ is None or case.seen.via is not Credential.PUBLISHED or id_ in case.listed:
        return None
    if case.may_wait(Awaited.LISTED):
        return case.pause(Awaited.LISTED)
    return Fail(
        Failure.UNLISTED,
        f"the published secret authenticates, but the provider does not list its id {id_}; "
        f"it lists {names_of(case.listed)}",
        Command.of("adopt", case.policy.account, "--secret-id", "ID"),
        "rotator looks again. If its id is another one by now",
    )
