"""`doctor`: exit 0 where the main job can run, 1 where it cannot, each finding in a line."""

from tests.cli.test_bad_input import bench


def test_here_the_main_job_can_run(tmp_path):
    done = bench("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAULT" not in done.stdout
    lines = done.stdout.splitlines()
    for begin in (
        "ok       training: ",
        "ok       scoring: its kernels are compiled",
        "ok       data: ",
    ):
        assert any(line.startswith(begin) for line in lines), done.stdout


def test_a_results_folder_that_is_a_file_fails_the_check(tmp_path):
    (tmp_path / "results").write_text("")
    done = bench("doctor", cwd=tmp_path)
    assert done.returncode == 1
    (fault,) = [line for line in done.stdout.splitlines() if line.startswith("FAULT")]
    assert fault.startswith("FAULT    results: results: cannot be written and locked")
    assert "Traceback" not in done.stderr
