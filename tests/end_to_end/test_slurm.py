"""A plan done by SLURM: an array on two nodes, one of which dies, ends as a local run does.

    apt-get install slurmctld slurmd slurm-client munge
    python -m pytest tests/end_to_end/test_slurm.py -m slow -s > docs/verification/slurm.txt

Debian's slurmctld and two slurmd run on this machine, for this test alone, on ports of their own.
Skips where they are not installed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.job import JobFile, JobLocation
from bench.run.slurm import array_script
from tests.conftest import ROOT
from tests.run.test_rows import make_job

CONF = """
ClusterName=bench
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort=16817
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
SlurmctldTimeout=10
KillWait=30
JobRequeue=1
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
WORDS = (
    "--protocol", "groupkfold5", "--method", "custom_cnn", "--image-size", "24",
    "--folds", "0,1,2", "--set", "epochs=4", "--checkpoint-seconds", "0.2",
)  # fmt: skip
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not all(shutil.which(name) for name in NEEDED), reason=f"{', '.join(NEEDED)} are needed"
    ),
]


class Cluster:
    """SLURM on this machine: one controller, two nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        (folder / "slurm.conf").write_text(CONF.format(folder=folder, user=getpass.getuser()))
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.call(
            "munged", "--force", f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        self.call("slurmctld", "-c")
        for node in ("n1", "n2"):
            self.start(node)
        self.wait_for(lambda: self.call("sinfo", "-h", "-o", "%D %t").strip() == "2 idle")

    def call(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self.environment, cwd=self.folder.parent, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, node: str) -> None:
        self.call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """What a power cut does: the node's daemon and all that it has started are gone."""
        daemon = psutil.Process(int((self.folder / f"{node}.pid").read_text()))
        steps = [
            step for step in psutil.process_iter(["name", "environ"])
            if step.name() == "slurmstepd" and step.parent() in (daemon, psutil.Process(1), None)
        ]  # fmt: skip
        mine = [step for step in steps if self.node_of(step) == node]
        doomed = [daemon, *mine, *(child for step in mine for child in step.children(True))]
        for process in doomed:
            process.kill()
        psutil.wait_procs(doomed, timeout=10)

    def node_of(self, step: psutil.Process) -> str:
        """The node of a step, as its tasks' environment tells."""
        for child in step.children(recursive=True):
            node = child.environ().get("SLURMD_NODENAME")
            if node:
                return node
        return ""

    def tasks(self) -> dict[str, str]:
        """State and node of every task of the array that is not over."""
        lines = self.call("squeue", "-h", "-r", "-o", "%i %T %N").splitlines()
        return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}

    def wait_for(self, condition, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; tasks {self.tasks()}"
            time.sleep(0.2)

    def end(self) -> None:
        for name in ("n1", "n2", "ctld", "munged"):
            try:
                psutil.Process(int((self.folder / f"{name}.pid").read_text())).kill()
            except (OSError, ValueError, psutil.Error):
                continue


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets want short paths
    made = Cluster(folder)
    yield made
    made.end()
    shutil.rmtree(folder, ignore_errors=True)


def bench(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), *words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tell(text: object, folder: Path) -> None:
    """Print without the paths of this machine."""
    shown = str(text).replace(str(folder.resolve()), "WORK").replace(sys.executable, "python")
    print(shown.replace(f"{ROOT}/", ""))


def test_an_array_whose_node_dies_ends_as_a_local_run(cluster, tmp_path):
    local, there = tmp_path / "local", tmp_path / "slurm"
    for folder in (local, there):
        folder.mkdir()
    bench("run", *WORDS, "--jobs", "2", cwd=local)
    tell(bench("plan", *WORDS, "--slurm", "run.sbatch", cwd=there), there)
    tell((there / "run.sbatch").read_text(), there)
    assert "3" in bench("status", cwd=there)
    tell(cluster.call("sbatch", f"--chdir={there}", str(there / "run.sbatch")), there)
    results = there / "results"
    cluster.wait_for(lambda: any(results.glob("**/history.csv")))
    running = {task: at for task, at in cluster.tasks().items() if "RUNNING n1" in at}
    print("before the kill:", cluster.tasks())
    assert len(running) == 1
    cluster.kill("n1")
    cluster.start("n1")
    cluster.wait_for(lambda: not cluster.tasks())
    print(bench("status", cwd=there), bench("verify-results", cwd=there), sep="\n")
    resumed = 0
    for path in sorted((local / "results").glob("**/predictions.parquet")):
        other = results / path.relative_to(local / "results")
        assert other.read_bytes() == path.read_bytes()
        record = other.with_name("record.json").read_text()
        resumed += '"resumed": 0' not in record
    assert resumed >= 1
    assert len(list(results.glob("**/record.json"))) == 3
    print(bench("report", "--protocol", "groupkfold5", cwd=there))
    print(f"three folds, each once, bit-equal to the local run; {resumed} resumed after the kill")


def test_the_tasks_log_beside_the_list_though_its_path_is_odd(cluster, tmp_path):
    job_list = tmp_path / "it's 50%a" / "sp ace.jobs"
    job_list.parent.mkdir()
    job_list.write_text("none\n")
    job = make_job(0)
    place = JobLocation(
        method_file="m", store="s", fold_table="t", weights=None, folder="f", device="cpu"
    )
    file = JobFile(id=job.id, command="python bench.py run", job=job, place=place)
    script = tmp_path / "run.sbatch"
    script.write_text(array_script(job_list, [file], ROOT / "bench.py", None))
    cluster.call("sbatch", f"--chdir={tmp_path}", str(script))
    cluster.wait_for(lambda: not cluster.tasks(), 120)
    (log,) = job_list.parent.glob("*.log")
    assert log.name == "sp ace.jobs.0.log"
    assert "line 1: not a line of a job list" in log.read_text()
