"""Start a complete installation on this machine, for trial: `make stack`.

It runs PostgreSQL, a Prefect server, an S3 server and workers of the three pools, and restarts each one that dies. They
listen on 127.0.0.1 only. Ctrl-C stops all of them. Interrupted runs continue about 5 minutes after the next start, when
the server counts them as crashed.
"""

import argparse
import fcntl
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import httpx
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from deployments import postgres
from deployments.env_file import env_file
from deployments.first_start import MadeAtFirstStart, made_at_first_start
from deployments.ports import is_free
from deployments.s3_server import guarded_by, weed_command
from lib.command_line import main_of, parser, resolved
from lib.errors import PermanentError, TransientError
from lib.files import open_lock
from lib.packages import OF_THE_STACK, missing
from lib.runtime.gpus import visible_gpus
from lib.settings import REPOSITORY

CONFIGURATION = Path(__file__).with_name("supervisord.conf")
BUCKET = "image-training"
NOT_INHERITED = re.compile("AWS_|WEED_|PREFECT_(API_|LOGGING_ROOT_|PROFILE|SERVER_|UI_)")
"""Databases and keys that the terminal knows are not the stack's. At DEBUG of all loggers a server logs passwords."""
READY = """Ready. In another terminal: make deploy, then .venv/bin/prefect deployment run train-all/digits
Ctrl-C ends all; interrupted runs continue about 5 minutes after the next start"""
STARTS_WITHIN_S, ENDS_WITHIN_S = 180.0, 90.0


@dataclass(frozen=True)
class Stack:
    """Where an installation keeps everything, and the file that says how to reach it."""

    folder: Path
    env_file: Path
    gpu_trainings: int = 1
    """How many the worker of the pool gpu does at once."""

    @property
    def _made_at_first_start(self) -> MadeAtFirstStart:
        return made_at_first_start(self.folder)

    def reached_by(self) -> dict[str, str]:
        """The variables by which commands and workers reach it."""
        made = self._made_at_first_start
        return {
            "PREFECT_API_URL": f"http://127.0.0.1:{made.prefect_port}/api",
            "PREFECT_API_AUTH_STRING": made.prefect_login,
            "STORE_URI": f"s3://{BUCKET}",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{made.s3_ports[0]}",
            "AWS_ACCESS_KEY_ID": made.access_key,
            "AWS_SECRET_ACCESS_KEY": made.secret_key,
            "AWS_REGION": "us-east-1",
            "SCHEDULES": "paused",  # two of them train for days without a GPU
        }

    def environment(self, database_url: str) -> dict[str, str]:
        """All that deployments/supervisord.conf and its programs need."""
        made = self._made_at_first_start
        kept = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
        defaults = {
            "PREFECT_WORKER_QUERY_SECONDS": "3",
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "10",
        }
        return {
            **defaults,
            **kept,
            **self.reached_by(),
            **guarded_by(self.folder / "s3-internal", made.s3_internal_key),
            "REPOSITORY": str(REPOSITORY),
            "BIN": str(Path(sys.executable).parent),
            "STACK": str(self.folder),
            "WEED": shlex.join(weed_command(self.folder / "s3", list(made.s3_ports))),
            "S3_BUCKET": BUCKET,
            "GPU_TRAININGS": str(self.gpu_trainings),
            "PREFECT_PORT": str(made.prefect_port),
            "DATABASE_URL": database_url,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": made.prefect_login,
            # The links that Prefect prints are of this one of its two interfaces: a login is to lead there too.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            # By default any page in the user's browser may talk to the server.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
                f"http://{host}:{made.prefect_port}" for host in ("127.0.0.1", "localhost")
            ),
            # In memory, a run's place among those allowed at once would be taken for ever after a power cut.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            # Or a server that was down for longer than a minute would forget which runs have fallen silent.
            "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P30D",
        }

    def run(self) -> None:
        """Start it, say where it is, and wait for its end. Raises PermanentError where it cannot be started."""
        self._make_folders()
        with self._alone(), env_file(self.env_file, self.reached_by), self._leaving_nothing():
            self._check_ports()
            print(f"{self._where()}\nStarting PostgreSQL, servers and workers: about half a minute", flush=True)
            environment = self.environment(self._start_database())
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIGURATION)],
                env=environment,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                self._wait(supervisor)
                print(READY, flush=True)
                raise PermanentError(f"supervisord ended with code {supervisor.wait()}; see {self.folder / 'log'}")
            finally:
                with suppress(OSError):  # the terminal may be gone
                    print("Stopping", file=sys.stderr, flush=True)
                _end(supervisor)

    def _make_folders(self) -> None:
        try:
            for name in ("log", "s3", "s3-internal", "runtime", "prefect"):
                (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise PermanentError(
                f"--folder must name a folder that can be made and written; received {self.folder}: {error.strerror}"
            ) from error

    def _start_database(self) -> str:
        try:
            return postgres.start(self.folder / "postgres")[1]
        except subprocess.SubprocessError as error:
            raise TransientError(f"PostgreSQL did not start; see {self.folder / 'postgres' / 'log'}") from error

    @contextmanager
    def _leaving_nothing(self) -> Iterator[None]:
        """Without processes of a start that was killed, before and after."""
        kill_all(self.processes())
        try:
            yield
        finally:
            kill_all(self.processes())

    def _check_ports(self) -> None:
        """Raise PermanentError where another program has taken a port since the first start."""
        made = self._made_at_first_start
        for port in (made.prefect_port, *made.s3_ports):
            if not is_free(port):
                raise PermanentError(
                    f"port {port} must be free for the stack; another program listens there: stop it, or remove "
                    f"{self.folder} with all that it holds"
                )

    def processes(self) -> list[psutil.Process]:
        """Every process of this installation but this one, PostgreSQL's among them."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            data = str(self.folder / "postgres")
            return process.environ().get("STACK") == str(self.folder) or (
                process.name() == "postgres" and data in process.cmdline()
            )
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            return False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open_lock(self.folder / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PermanentError(f"only one stack may run in {self.folder}; another runs already") from None
            yield

    def _wait(self, supervisor: "subprocess.Popen[bytes]") -> None:
        """Until the servers answer; the workers then find them by themselves."""
        waits = {"S3 server": self._s3_answers, "Prefect server": self._prefect_answers}
        deadline = time.monotonic() + STARTS_WITHIN_S
        for name, answers in waits.items():
            while not answers():
                if (code := supervisor.poll()) is not None:
                    raise TransientError(
                        f"supervisord ended with code {code} before the {name} answered; see {self.folder}/log"
                    )
                if time.monotonic() > deadline:
                    raise TransientError(f"the {name} did not start in {STARTS_WITHIN_S:.0f} s; see {self.folder}/log")
                time.sleep(0.3)
            print(f"{name} answers", flush=True)

    def _prefect_answers(self) -> bool:
        if not self._listens(self._made_at_first_start.prefect_port):
            return False
        try:
            return httpx.get(f"{self.reached_by()['PREFECT_API_URL']}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def _listens(self, port: int) -> bool:
        """Whether it is ours that does: another's server would take our workers' runs for its own."""
        for process in self.processes():
            with suppress(psutil.AccessDenied, psutil.NoSuchProcess):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                        return True
        return False

    def _s3_answers(self) -> bool:
        reached = self.reached_by()
        client = boto3.Session().client(
            "s3",
            endpoint_url=reached["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=reached["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=reached["AWS_SECRET_ACCESS_KEY"],
            region_name=reached["AWS_REGION"],
        )
        try:
            client.head_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True

    def _where(self) -> str:
        reached = self.reached_by()
        return (
            f"Prefect UI   {reached['PREFECT_API_URL'].removesuffix('/api')}, asks for a password once\n"
            f"password     all of PREFECT_API_AUTH_STRING in {self.env_file}, with its admin:\n"
            f"S3           {reached['AWS_ENDPOINT_URL_S3']}, bucket {BUCKET}; keys in {self.env_file}\n"
            f"logs         {self.folder / 'log'}"
        )


def kill_all(processes: list[psutil.Process]) -> None:
    """kill -9, of those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _end(supervisor: "subprocess.Popen[bytes]") -> None:
    if supervisor.poll() is None:
        supervisor.terminate()
        try:
            supervisor.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument(
        "--folder",
        type=Path,
        default=REPOSITORY / ".stack",
        metavar="FOLDER",
        help="keep all data, logs and keys in this folder (default: .stack)",
    )
    options.add_argument(
        "--env-file",
        type=Path,
        default=REPOSITORY / ".env",
        metavar="FILE",
        help="write how to reach the installation to this file (default: .env)",
    )
    options.add_argument(
        "--gpu-trainings",
        type=int,
        default=max(1, len(visible_gpus())),
        metavar="N",
        help="run at most N trainings at once in the pool gpu (default: the number of GPUs, at least 1)",
    )
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    if said := missing(OF_THE_STACK):
        raise PermanentError(said)
    stack = Stack(resolved(chosen.folder, "--folder"), resolved(chosen.env_file, "--env-file"), chosen.gpu_trainings)
    if "%" in str(stack.folder):
        raise PermanentError(f"--folder must have no % in its path: supervisord replaces it; received {stack.folder}")
    if stack.gpu_trainings < 1:
        raise PermanentError(f"--gpu-trainings must be at least 1; received {stack.gpu_trainings}")
    stack.run()


if __name__ == "__main__":
    main_of(command, "make stack starts it again with all its data")
