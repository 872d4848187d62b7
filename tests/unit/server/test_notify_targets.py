"""URLs and commands that are told: what can be one, how it is told, and how that fails."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.processes import descendants
from support.receivers import UNREADABLE, Receiver, receiver
from support.services import wait_until

from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.server import notify_command, notify_url
from stn_cluster.server.notify_command import NotifyCommand
from stn_cluster.server.notify_targets import make_targets
from stn_cluster.server.notify_url import NotifyUrl, signature

BODY = b'{"version": 1}'


def deliver(target: NotifyUrl | NotifyCommand) -> str | None:
    return asyncio.run(target.deliver(BODY))


# --- URLs ---


def test_a_url_gets_the_json_with_its_signature() -> None:
    with receiver() as server:
        assert deliver(NotifyUrl.of(server.url, "a secret")) is None
        assert deliver(NotifyUrl.of(server.url, None)) is None
    (body, signed), (_, unsigned) = server.came
    assert body == BODY
    assert signed["Content-Type"] == "application/json"
    expected = hmac.new(b"a secret", BODY, hashlib.sha256).hexdigest()
    assert signed["X-Signature"] == f"sha256={expected}"
    assert "X-Signature" not in unsigned


def test_a_secret_may_be_any_bytes() -> None:
    of_environment = os.fsdecode(b"\xff\xfe secret")  # as os.environ has them
    expected = hmac.new(b"\xff\xfe secret", BODY, hashlib.sha256).hexdigest()
    assert signature(of_environment, BODY) == f"sha256={expected}"


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "HTTP 500"), (404, "HTTP 404"), (302, "HTTP 302 (redirects are not followed)")],
)
def test_what_is_not_taken_is_said_and_redirects_are_not_followed(status: int, said: str) -> None:
    with receiver() as server:
        server.status = status
        assert deliver(NotifyUrl.of(server.url, None)) == said
    assert len(server.came) == 1


@pytest.mark.parametrize("location", UNREADABLE, ids=lambda location: repr(location[:20]))
def test_a_redirect_to_what_is_no_url_is_a_try_that_has_failed(location: str) -> None:
    with receiver() as server:
        server.status, server.location = 308, location
        said = deliver(NotifyUrl.of(server.url, None))
        assert said == "HTTP 308 (redirects are not followed)"
    assert len(server.came) == 1


def test_a_receiver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_url, "SECONDS", 0.2)
    with receiver() as server:
        server.waits = True
        assert deliver(NotifyUrl.of(server.url, None)) == "no answer within 0.2 seconds"


def test_a_receiver_that_is_not_there_is_said(free_port: int) -> None:
    failure = deliver(NotifyUrl.of(f"http://127.0.0.1:{free_port}", None))
    assert failure


@pytest.fixture
def free_port() -> int:
    with Receiver() as server:
        return server.server_port


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "https:///x"),
        *("http://a b", "http://a\nb", "http://[::1", "http://h:99999", "http://h:x"),
        *("javascript:1", "http://" + "a" * 70, "http://h/" + "a" * 5000, "http://\x7f"),
        *("http://h:0/x", "http://h:-1", "http://h:65536", "https://[::1]:0", "http://:80", "//h"),
        *("http://*/", "http://h%00/", "http://h\\x/", "http://h@/", "http://./", "http://xn--a/"),
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"^--notify: an http or https URL, as in https://example"):
        make_targets([url], [], {})


def test_the_secret_comes_from_the_environment_and_nothing_secret_is_shown() -> None:
    url = "https://user:password@example.org:8443/hooks/T0K3N?key=value"
    [target] = make_targets([url, url], [], {"STN_CLUSTER_NOTIFY_SECRET": " s3cret\n"})
    assert isinstance(target, NotifyUrl)
    assert target.secret == "s3cret"
    assert target.name == "https://example.org:8443/..."
    for shown in (repr(target), target.digest, target.name):
        assert not re.search("password|T0K3N|value|s3cret", shown)
    [unsigned] = make_targets([url], [], {"STN_CLUSTER_NOTIFY_SECRET": "  "})
    assert isinstance(unsigned, NotifyUrl)
    assert unsigned.secret is None
    assert unsigned.digest == target.digest


# --- commands ---


def python(code: str) -> NotifyCommand:
    return NotifyCommand.of(f"{sys.executable} -c {code!r}")


def test_a_command_gets_the_json_and_no_shell_reads_its_words(tmp_path: Path) -> None:
    file = tmp_path / "a $HOME; b"
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    assert deliver(NotifyCommand.of(f"{sys.executable} -c {code!r} {str(file)!r}")) is None
    assert file.read_bytes() == BODY


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("exit(3)", "exit code 3"),
        ("raise ValueError(5)", "exit code 1: ValueError: 5"),
        ("import sys; sys.stderr.write(1000000 * chr(10)); exit(4)", "exit code 4"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "exit code -15"),
    ],
)
def test_a_command_that_fails_is_said(code: str, said: str) -> None:
    assert deliver(python(code)) == said


def test_a_command_need_not_read_its_input() -> None:
    assert asyncio.run(NotifyCommand.of("true").deliver(b"x" * 10_000_000)) is None


def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "process"
    assert deliver(NotifyCommand.of(f"sh -c 'sleep 60 & echo $! > {file}'")) is None
    left = int(file.read_text())
    assert is_sleep(left)
    os.kill(left, signal.SIGKILL)


def test_a_command_that_does_not_end_is_killed_with_all_its_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify_command, "SECONDS", 0.5)
    before = set(descendants(os.getpid()))
    failure = deliver(NotifyCommand.of("sh -c 'trap \"\" TERM; sleep 60 & sleep 60'"))
    assert failure == "it did not end within 0.5 seconds, and was killed"
    wait_until(lambda: not any(map(is_sleep, {*descendants(os.getpid())} - before)), 10)


def test_a_command_that_prints_without_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_command, "SECONDS", 60.0)
    failure = deliver(NotifyCommand.of("sh -c 'yes >&2'"))
    assert failure == "it wrote more than 10,000,000 bytes to standard error, and was killed"


def test_a_command_may_print_much() -> None:
    assert deliver(NotifyCommand.of("sh -c 'head -c 300000000 /dev/zero'")) is None
    said = deliver(NotifyCommand.of("sh -c 'yes | head -c 9000000 >&2; echo no >&2; exit 5'"))
    assert said == "exit code 5: no"


def test_a_command_may_close_its_input_unread() -> None:
    target = NotifyCommand.of("sh -c 'exec 0<&-; sleep 0.1; exit 6'")
    assert asyncio.run(target.deliver(b"x" * 10_000_000)) == "exit code 6"


def test_a_full_disk_keeps_no_command_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert deliver(NotifyCommand.of("true")) is None


def test_a_command_that_cannot_be_started_is_a_try_that_has_failed() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = NotifyCommand.of("true")

    async def without_files() -> str | None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limit[1]))
        try:
            return await target.deliver(BODY)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    assert asyncio.run(without_files()) == "cannot be run: Too many open files"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a program of root's")
def test_a_command_that_has_become_another_users_is_given_up_at_the_limit() -> None:
    with tempfile.TemporaryDirectory(prefix="stn-cluster-test-") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder, "sleep")
        shutil.copyfile(shutil.which("sleep") or "", program)
        program.chmod(0o4755)
        code = (
            "import asyncio, os\n"
            "from stn_cluster.server import notify_command as module\n"
            f"module.SECONDS, command = 0.5, module.NotifyCommand.of('{program} 20')\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "print(asyncio.run(command.deliver(b'')))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "it did not end within 0.5 seconds, and was killed\n", done.stderr


def is_sleep(pid: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "a command, as in"),
        ("''", "a command, as in"),
        ("mail 'me", "No closing quotation"),
        ("no-such-program x", "there is no program 'no-such-program' that can be run"),
        ("/etc/passwd", "there is no program '/etc/passwd' that can be run"),
        ("/tmp", "there is no program '/tmp' that can be run"),
        ("true a\0b", "null character"),
    ],
)
def test_what_is_no_command_is_refused(command: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^--exec: .*{re.escape(said)}"):
        make_targets([], [command], {})


def test_a_program_is_found_by_its_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\nexec cat > taken\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert deliver(NotifyCommand.of("./mine")) is None
    assert (tmp_path / "taken").read_bytes() == BODY


def test_a_program_that_is_gone_is_said(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    target = NotifyCommand.of(str(program))
    program.unlink()
    assert deliver(target) == "cannot be run: No such file or directory"


@pytest.mark.parametrize("field", ["notify", "exec"])
def test_no_config_can_name_one(field: str) -> None:
    with pytest.raises(UserError, match=f"{field}: unknown field|unknown field '{field}'"):
        parse_config({"recipe": "smoke", field: ["http://127.0.0.1:1"]})
