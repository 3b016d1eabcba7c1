"""What people do at Vault, in the dashboard and in the configuration, without rotator."""

from typing import TYPE_CHECKING

from tests.system.courses.events import Deed, Person, Pick

if TYPE_CHECKING:
    from tests.system.courses.course import Course

_KEY = "shopkey"
_ROOM = 1


def act(course: "Course", deed: Person) -> None:
    """Do it, if it is possible now."""
    match deed.deed:
        case Deed.ADD:
            add(course)
        case Deed.REMOVE:
            _remove(course, deed.pick)
        case Deed.READD:
            value = _remove(course, deed.pick)
            if value is not None:
                course.provider.add(_KEY, value)
                course.judge.returned(value)
        case Deed.RENAME_FIELD:
            course.rename_field()
        case Deed.DELETE_JOURNAL:
            versions = course.vault.versions.get(course.journal_path, [])
            if versions:
                course.vault.deleted.add((course.journal_path, len(versions)))
                course.judge.forget_requests()
        case Deed.DELETE:
            course.vault.deleted.add((course.account.path, course.version))
        case Deed.UNDELETE:
            course.vault.deleted.discard((course.account.path, course.version))
        case _:
            _write(course, deed)


def add(course: "Course") -> str | None:
    """Add a secret in the dashboard, if there is room."""
    if len(course.live) >= course.max_secrets:
        return None
    value = course.new_value("Added")
    course.provider.add(_KEY, value)
    course.added.append(value)
    return value


def _remove(course: "Course", pick: Pick) -> str | None:
    """Remove a secret in the dashboard, which never removes the last one."""
    value = course.value_of(pick)
    id_ = max(course.ids_of(value), default=None)
    if id_ is None or value is None or len(course.live) == _ROOM:
        return None
    course.provider.remove(_KEY, id_)
    course.judge.removed(value)
    return value


def _write(course: "Course", deed: Person) -> None:
    """Write the published document by hand: an earlier version, another value, or another field."""
    data = course.vault.peek(course.account.path).data
    name = course.field_name
    match deed.deed:
        case Deed.ROLL_BACK:
            data = course.vault.peek(course.account.path, course.version - deed.back).data
        case Deed.EDIT if data is not None:
            data = {**data, "note": f"edited at version {course.version}"}
        case Deed.MISTYPE if data is not None:
            value = course.value_of(deed.pick)
            if value is None:
                return
            data = {**data, name: f"{value}x"}
        case Deed.PUBLISH:
            value = course.value_of(deed.pick)
            if value is None:
                return
            data = {**(data or {}), name: value}
            if deed.named is Pick.NONE:
                data.pop("secret_id", None)
            elif deed.named is not None:
                data["secret_id"] = course.id_of(deed.named)
    if data is not None:
        before = course.published
        course.write_by_hand(dict(data))
        course.judge.by_hand(before)
