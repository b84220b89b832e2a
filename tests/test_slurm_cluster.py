"""slurm/train.sbatch on a real SLURM of two nodes: warned of its time limit, a job saves, requeues and goes on.

Needs the Debian packages slurmctld, slurmd, slurm-client and munge; takes about a minute:
    python -m pytest tests/test_slurm_cluster.py
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers.runs import ROOT, events, parameters, run_apart
from tests.helpers.slurm_cluster import SlurmCluster, free_ports, missing_programs

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}"),
]
CONFIG = {
    "test_after_fit": True,
    "model": {"class_path": "tests.helpers.slow_module.SlowModule", "init_args": {"seconds": 0.3}},
    "data": {"class_path": "tests.helpers.slow_module.SlowData", "init_args": {"size": 42, "batch_size": 2}},
    "trainer": {"max_epochs": 4, "log_every_n_steps": 1, "enable_model_summary": False},
}
ON_CPUS = ["--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
STEPS = 4 * (42 // 4)


@pytest.fixture
def cluster() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # pytest's own path may be too long for a socket
    with SlurmCluster(folder) as running:
        yield running
    shutil.rmtree(folder)


def test_job_that_is_warned_goes_on_as_if_uninterrupted(cluster, tmp_path):
    config = tmp_path / "slow.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    folder, log = tmp_path / "runs" / "slow" / "job-1", tmp_path / "job.out"
    job = cluster.submit(
        *("--nodes=2", "--ntasks-per-node=1", "--gres=none", "--cpus-per-task=1", f"--output={log}"),
        *("slurm/train.sbatch", str(config), "--runs_dir", str(tmp_path / "runs"), *ON_CPUS),
        cwd=ROOT,
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(free_ports(1)[0]),
        GLOO_SOCKET_IFNAME="lo",
    )
    assert folder.name == f"job-{job}"

    def steps() -> int:
        return len(events(folder)) if (folder / "trace-0.jsonl").exists() else 0

    cluster.wait_for(lambda: steps() > 13, "the second epoch", 120)
    cluster.call("scancel", "--signal=USR1", job)  # as SLURM does before the limit: to the steps, not the batch shell
    cluster.wait_for(lambda: cluster.job(job).get("Restarts") == "1", f"the requeue, see {log}", 100)
    cluster.wait_for(lambda: cluster.job(job)["JobState"] == "PENDING", "the end of the first session", 60)
    before, other = events(folder, 0), events(folder, 1)
    assert 13 < len(before) < STEPS, "interrupted within the run"
    cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM itself would wait two minutes
    cluster.wait_for(lambda: cluster.job(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), "the end", 200)

    state = cluster.job(job)
    assert (state["JobState"], state["Restarts"], state["ExitCode"]) == ("COMPLETED", "1", "0:0"), log.read_text()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], [each["status"] for each in manifest["earlier"]]) == ("finished", ["interrupted"])
    assert "Traceback" not in log.read_text()

    status, errors = run_apart(
        [
            *("fit", "--config", str(config), "--runs_dir", str(tmp_path / "runs"), "--name", "full"),
            *("--model.seconds", "0", "--trainer.devices", "2", *ON_CPUS),
        ]
    )
    assert status == 0, errors
    full = folder.with_name("full")
    assert (folder / "metrics.csv").read_text() == (full / "metrics.csv").read_text(), "no row lost, none twice"
    expected = events(full)
    assert events(folder) == expected, "process zero goes on with the very next batch"
    repeated = len(events(folder, 1)) - len(expected)
    assert events(folder, 1)[: len(other)] == other
    assert 0 <= repeated <= 1, "another process may have begun a batch that is trained later"
    ours, theirs = parameters(folder), parameters(full)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
