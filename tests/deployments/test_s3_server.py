"""Of the S3 server's many ports, only that of S3 obeys, and only who has the keys."""

import psutil

from tests.s3_server import S3Server
from tests.strangers import ask, asked_of, obeyed, obeys_grpc, told


def test_no_port_of_the_s3_server_tells_or_obeys_a_stranger(s3_server: S3Server) -> None:
    s3 = s3_server.client()
    for key in ("asked-for", "not-listed"):
        s3.put_object(Bucket=s3_server.bucket, Key=key, Body=b"what is stored")
    found = psutil.Process(s3_server.pid).net_connections("tcp")
    ports = sorted({each.laddr.port for each in found if each.status == psutil.CONN_LISTEN})
    assert len(ports) > 8, "filer, master and volume servers listen, for HTTP and for gRPC"

    answers = {asked: ask(asked) for asked in asked_of(ports)}

    s3_port = int(s3_server.endpoint.rsplit(":", 1)[1])
    assert answers[s3_port, "GET", "/", False].status == 403
    assert told(answers, ["not-listed", "what is stored", s3_server.secret_key, "test-internal"]) == []
    assert obeyed(answers) == []
    assert [port for port in ports if obeys_grpc(port)] == []
    assert s3.get_object(Bucket=s3_server.bucket, Key="asked-for")["Body"].read() == b"what is stored"
