"""A SLURM cluster of two nodes on this machine: private daemons, free ports, everything in one folder."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "sinfo")
NODES = ("n1", "n2")
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldLogFile={folder}/slurmctld.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """The programs that a cluster needs and that are not installed; daemons are often off the user's path."""
    return [name for name in PROGRAMS if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class SlurmCluster:
    """Runs munged, slurmctld and two slurmd while the context lasts, and ends them by their process ids.

    Args:
        folder: empty folder, of a short path (it holds a socket), for keys, settings, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self.environment["SLURM_CONF"] = str(folder / "slurm.conf")
        self._daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "SlurmCluster":
        folder = self.folder
        values = {"folder": folder, "host": socket.gethostname().split(".")[0], "user": getpass.getuser()}
        (folder / "slurm.conf").write_text(SETTINGS.format(ports=free_ports(3), **values))
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        (folder / "state").mkdir()
        for node in NODES:
            (folder / f"spool-{node}").mkdir()
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        try:
            # --force: the folder of a test is closed to other users, which munged finds suspicious.
            self._start(
                "munged",
                "--foreground",
                "--force",
                *(f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()),
            )
            self.wait_for(lambda: (folder / "munge.socket").exists(), "munged", 20)
            self._start("slurmctld", "-D", "-i")
            for node in NODES:
                self._start("slurmd", "-D", "-N", node)
            self.wait_for(lambda: self.call("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 2, "the nodes", 60)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.call("scancel", "--full", "--signal=KILL", "--user", getpass.getuser())
        self.call("scancel", "--user", getpass.getuser())
        self._stop()

    def _start(self, program: str, *options: str) -> None:
        output = (self.folder / "daemons.log").open("a")
        command = [str(_program(program)), *options]
        with output:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=output, stderr=output, start_new_session=True)
            )

    def _stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def call(self, *command: str) -> str:
        """What a SLURM command prints; an empty string if it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    def submit(self, *words: str, cwd: Path, **variables: str) -> str:
        """Hand a job in; return its id."""
        environment = self.environment | variables
        done = subprocess.run(
            ["sbatch", "--parsable", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job: JobState, Restarts, ExitCode, ..."""
        return dict(re.findall(r"(\w+)=(\S*)", self.call("scontrol", "show", "job", job)))

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float) -> float:
        """Wait until ``condition`` holds; return the seconds it took."""
        begun = time.monotonic()
        while not condition():
            if (waited := time.monotonic() - begun) > seconds:
                raise TimeoutError(f"{what} not there after {waited:.0f} s; the logs are in {self.folder}")
            time.sleep(0.2)
        return time.monotonic() - begun
