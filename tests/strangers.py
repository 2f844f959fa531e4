"""What another user of this machine, or a page in its owner's browser, can ask of each port that listens."""

import os
import socket
import ssl
from collections.abc import Iterable
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple

NOBODY = 65534
HTTP2_BEGINS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""A client's first words: the preface, and a frame of no settings."""
SETTINGS_AT, HTTP2_SETTINGS = 3, 4
"""Where a frame says its kind, and the kind of a server's first one."""
EVIL = "https://evil.example"
READS = tuple(("GET", path) for path in (
    "/", "/status", "/metrics", "/stats/memory", "/debug/pprof/", "/debug/vars", "/ui/index.html", "/cluster/status",
    "/buckets/", "/buckets/image-training/?pretty=y", "/image-training", "/image-training?list-type=2",
    "/dir/assign", "/dir/status", "/dir/lookup?volumeId=1", "/vol/status", "/etc/iam/", "/topics/",
    "/api/admin/version", "/api/work_pools/cpu", "/api/variables/name/x", "/api/csrf-token?client=x", "/ui-settings",
    "/buckets/test-bucket/asked-for", "/test-bucket/asked-for", "/?Action=ListUsers", "/api/admin/settings",
    "/docs", "/openapi.json",
))  # fmt: skip
CHANGES = (
    ("PUT", "/buckets/image-training/evil"), ("PUT", "/image-training/evil"), ("PUT", "/evil"),
    ("POST", "/buckets/image-training/evil"), ("POST", "/submit"), ("POST", "/"),
    ("DELETE", "/buckets/image-training/?recursive=true"), ("DELETE", "/image-training"), ("DELETE", "/1,01637037d6"),
    ("GET", "/col/delete?collection=image-training"), ("GET", "/vol/grow?count=1"), ("GET", "/vol/vacuum"),
    ("POST", "/api/flow_runs/filter"), ("POST", "/api/block_documents/filter"), ("POST", "/api/deployments/filter"),
    ("POST", "/api/artifacts/filter"), ("POST", "/api/logs/filter"), ("POST", "/api/work_pools/"),
    ("POST", "/api/admin/database/clear"), ("DELETE", "/api/work_pools/cpu"), ("POST", "/api/events"),
)  # fmt: skip


class Answer(NamedTuple):
    """What a stranger is told: `status` 0 where a port closes, or its TLS asks for a certificate."""

    status: int
    headers: dict[str, str]
    body: bytes


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


Asked = tuple[int, str, str, bool]
"""Port, method, path, and whether by TLS."""


def asked_of(ports: Iterable[int]) -> list[Asked]:
    """All that a stranger asks."""
    plain = [(port, method, path, False) for port in ports for method, path in (*READS, *CHANGES)]
    return [*plain, *((port, "GET", "/", True) for port in ports)]


def ask(asked: Asked) -> Answer:
    """As a page of EVIL does, whose name was made to mean this machine."""
    port, method, path, tls = asked
    if tls:
        context = ssl._create_unverified_context()
        connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    else:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Origin": EVIL, "Host": "evil.example", "Content-Type": "application/json"}
    with closing(connection):
        try:
            connection.request(method, path, body=b"{}", headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (OSError, HTTPException):
            return Answer(0, {}, b"")


def told(answers: dict[Asked, Answer], secrets: list[str]) -> list[tuple[Asked, str]]:
    """Which of `secrets` an answer gives away."""
    return [(asked, each) for asked, answer in answers.items() for each in secrets if each.encode() in answer.body]


def obeyed(answers: dict[Asked, Answer]) -> list[tuple[Asked, Answer]]:
    """What was done that changes something. A page for people that a server shows at any address does not."""
    return [
        (asked, answer)
        for asked, answer in answers.items()
        if asked[1:3] in CHANGES and 200 <= answer.status < 300 and answer.body.lstrip()[:9].lower() != b"<!doctype"
    ]


def obeys_grpc(port: int) -> bool:
    """Whether it takes HTTP/2, in which gRPC is spoken, from one who shows no certificate."""
    return any(_answers_in_http2(port, tls) for tls in (False, True))


def _answers_in_http2(port: int, tls: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])
            stream = context.wrap_socket(connection) if tls else connection
            stream.sendall(HTTP2_BEGINS)
            frame = stream.recv(9)
            return len(frame) > SETTINGS_AT and frame[SETTINGS_AT] == HTTP2_SETTINGS
    except OSError:
        return False
