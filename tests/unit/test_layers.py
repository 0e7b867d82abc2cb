"""One layer, and layers over one another: what is seen, what is hidden, what is only below."""

import io
import tarfile

import pytest

from auditor.collect.base import Deadline
from auditor.collect.image.files import file_facts, shown
from auditor.collect.image.layers import Layer, Limits, clean, parse_passwd, scan_layer
from auditor.collect.image.streams import Budget, ForwardStream
from auditor.model import Reason
from tests.support.archives import Entry, directory, file, hardlink, symlink, tar

KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIB" * 30 + "\n-----END PRIVATE" + " KEY-----\n"


def scan(*entries: Entry, size: int = 256 * 1024) -> Layer:
    budget = Budget(10**9, 10**5, Deadline.after(60))
    return scan_layer(ForwardStream(io.BytesIO(tar(*entries)), digest=True), Limits(budget, size))


def facts(*layers: tuple[Entry, ...]) -> dict:
    return file_facts([scan(*layer) for layer in layers])


def paths(rows: list[dict]) -> list[str]:
    return [row["path"] for row in rows]


def test_setuid_and_setgid_files_are_seen_with_mode_owner_and_layer() -> None:
    found = facts(
        (directory("bin"), file("bin/su", b"x", 0o4755)),
        (file("usr/bin/write", b"x", 0o2755, uid=0, gid=5),),
    )
    assert found["setuid"] == [
        {"path": "/bin/su", "mode": "4755", "uid": 0, "gid": 0, "layer": 1},
        {"path": "/usr/bin/write", "mode": "2755", "uid": 0, "gid": 5, "layer": 2},
    ]


def test_a_setgid_directory_is_no_setuid_file() -> None:
    assert facts((directory("var/mail", 0o2775),))["setuid_count"] == 0


def test_a_hard_link_to_a_setuid_file_is_one_as_well() -> None:
    found = facts((file("bin/su", b"x", 0o4755), hardlink("bin/sudo", "bin/su", 0o4755)))
    assert paths(found["setuid"]) == ["/bin/su", "/bin/sudo"]


def test_of_two_entries_of_one_name_the_last_one_counts() -> None:
    found = facts((file("bin/su", b"x", 0o4755), file("./bin/su", b"x", 0o755)))
    assert found["setuid_count"] == 0
    assert found["notes"]["duplicates"] == 1


def test_a_later_layer_that_takes_the_bit_away_is_believed() -> None:
    assert facts((file("bin/su", b"x", 0o4755),), (file("bin/su", b"x", 0o755),))["setuid"] == []


@pytest.mark.parametrize(
    ("above", "how"),
    [
        ((file("app/.wh.key.pem"),), "deleted by layer 2"),
        ((file(".wh.app"),), "deleted by layer 2"),
        ((directory("app"), file("app/.wh..wh..opq")), "deleted by layer 2"),
        ((file(".wh..wh..opq"),), "deleted by layer 2"),
        ((symlink("app", "/srv"),), "deleted by layer 2"),
        ((file("app/key.pem", "new"),), "overwritten by layer 2"),
    ],
    ids=["whiteout", "of-its-folder", "opaque", "opaque-root", "folder-replaced", "overwritten"],
)
def test_a_secret_that_a_later_layer_hides_is_still_in_the_image(above, how: str) -> None:
    found = facts(
        (directory("app"), file("app/key.pem", KEY), file("app/run", b"x", 0o4755)), above
    )
    row = found["secrets"][0]
    assert (row["path"], row["layer"], row["deleted"], row["how"]) == ("/app/key.pem", 1, True, how)
    hidden = how.startswith("deleted") and "key" not in above[-1].name
    assert found["setuid_count"] == (0 if hidden else 1)


@pytest.mark.parametrize(
    "name", ["app/.wh.other", "other/.wh.key.pem", ".wh.ap", "app/.wh..wh.plnk"]
)
def test_a_whiteout_of_something_else_hides_nothing(name: str) -> None:
    found = facts((file("app/key.pem", KEY),), (file(name),))
    assert found["secrets"][0]["deleted"] is False


def test_a_whiteout_hides_nothing_of_its_own_layer() -> None:
    found = facts((file("app/.wh..wh..opq"), file("app/key.pem", KEY)))
    assert found["secrets"][0]["deleted"] is False


def test_a_file_that_only_changed_its_mode_is_one_secret() -> None:
    found = facts((file("app/key.pem", KEY),), (file("app/key.pem", KEY, 0o600),))
    assert found["secrets_count"] == 1
    assert found["secrets"][0]["layer"] == 2


def test_world_writable_files_and_directories_are_seen_unless_sticky() -> None:
    found = facts(
        (
            directory("tmp", 0o1777),
            directory("open", 0o777),
            file("open/file", b"x", 0o666),
            symlink("open/link", "file"),
        )
    )
    assert [(row["path"], row["directory"]) for row in found["world_writable"]] == [
        ("/open", True),
        ("/open/file", False),
    ]


def test_more_world_writable_files_than_are_listed_are_counted() -> None:
    found = facts(tuple(file(f"d/{number}", b"", 0o666) for number in range(1300)))
    assert found["world_writable_count"] == 1300
    assert len(found["world_writable"]) == 200


def test_the_uppermost_passwd_counts() -> None:
    base = (file("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:0:0::/:\n"),)
    assert facts(base)["users"] == {"root": 0, "app": 0}
    assert facts(base, (file("etc/passwd", "app:x:1000:1000::/:\n"),))["users"] == {"app": 1000}
    assert facts(base, (file("etc/.wh.passwd"),))["users"] == {}
    assert facts(base, (file("app/x", b"1"),))["users"] == {"root": 0, "app": 0}
    assert facts((file("app/x", b"1"),))["users"] == {}


def test_a_passwd_that_is_a_link_or_too_large_is_unknown() -> None:
    assert facts((symlink("etc/passwd", "/run/passwd"),))["users"] is None
    layer = scan(file("etc/passwd", "root:x:0:0::/:\n" * 100), size=64)
    assert file_facts([layer])["users"] is None


def test_passwd_lines_that_are_none_are_left_out() -> None:
    text = b"root:x:0:0\n# no\napp:x:ten:1\nroot:x:5:5\nbig:x:99999999999:1\n\xff:x:7:7\n"
    assert parse_passwd(text) == {"root": 0, "\ufffd": 7}


def test_entries_that_lead_outside_are_refused_and_the_rest_is_read() -> None:
    layer = scan(
        file("../../etc/cron.d/x", b"x"),
        file("/abs/su", b"x", 0o4755),
        hardlink("a", "../../etc/shadow"),
        symlink("b", "../../../etc/shadow"),
        file("c/key.pem", KEY),
    )
    assert [reason for reason, _ in layer.problems] == [Reason.REFUSED, Reason.REFUSED]
    assert list(layer.setuid) == ["abs/su"]
    assert [found.path for found in layer.secrets] == ["c/key.pem"]
    assert layer.notes["absolute paths"] == 1
    assert layer.notes["links outside"] == 2


def test_devices_and_pipes_are_counted_and_not_opened() -> None:
    layer = scan(
        Entry("dev/sda", type=tarfile.BLKTYPE, mode=0o4666),
        Entry("dev/null", type=tarfile.CHRTYPE, mode=0o666),
        Entry("run/pipe", type=tarfile.FIFOTYPE),
        Entry("odd", type=b"Z"),
    )
    assert (layer.notes["devices"], layer.notes["entries of an unknown type"]) == (3, 1)
    assert not layer.setuid


def test_a_file_larger_than_the_limit_is_not_searched_and_that_is_noted() -> None:
    layer = scan(file("app/key.pem", "x" * 100 + KEY), size=50)
    assert not layer.secrets
    assert layer.notes["files not searched for secrets"] == 1


def test_more_facts_than_are_kept_is_a_problem() -> None:
    layer = scan(*(file(f"bin/{number}", b"", 0o4755) for number in range(20_001)))
    assert layer.problems[0][0] is Reason.REFUSED
    assert len(layer.setuid) == 20_000


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a/b"),
        ("./a//b/", "a/b"),
        ("/a", "a"),
        ("a/../b", "b"),
        ("..", None),
        ("a/../../b", None),
        (".", ""),
        ("...", "..."),
    ],
)
def test_names_become_paths_below_the_root(name: str, path: str | None) -> None:
    assert clean(name) == path


def test_paths_are_shown_printable_and_bounded() -> None:
    assert shown("a\nb\x1b[31m") == "/a\\x0ab\\x1b[31m"
    assert shown("caf\udce9") == "/caf\ufffd"
    assert len(shown("x" * 5000)) < 600
    token = "ghp_" + "a1B2" * 9
    assert token not in shown(f"backup/{token}.txt")
