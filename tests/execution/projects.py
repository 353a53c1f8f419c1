"""A project of a user's on disk, whose script is executed by real processes."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import textwrap

SCRIPT = """
{imports}
import mltraq_prefect as mltraq

{code}

if __name__ == "__main__":
    import sys
    experiment = mltraq.create_session("sqlite:///project.db").add_experiment("e")
    experiment.add_runs({grid})
    try:
        experiment.execute(step, {kwargs}, backend="local", checkpoint=True)
    except mltraq.InvalidInput as error:
        print("REFUSED", error)
        sys.exit()
    print([run.fields.x for run in experiment.runs.values()])
"""


class Project:
    """A folder with a script that executes `step` with a checkpoint, and modules beside it."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, code, *, imports="", kwargs="{}", grid="N=[1, 2]", **modules):
        texts = {name: textwrap.dedent(text) for name, text in modules.items()}
        texts["script"] = SCRIPT.format(
            code=textwrap.dedent(code),
            imports=textwrap.dedent(imports),
            kwargs=kwargs,
            grid=grid,
        )
        for name, text in texts.items():
            path = self.folder / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def run(self, *command, **environment):
        """Execute the script; return what it prints at last, and what it logs."""
        done = subprocess.run(
            [sys.executable, "-B", *(command or ("script.py",))],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.getcwd()} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        self.log = done.stderr
        return done.stdout.strip().splitlines()[-1]

    def fork(self):
        """Execute the script in a process that has imported the package; return what it prints."""
        output = self.folder / "output"
        process = _FORKS.Process(target=_execute, args=(self.folder, output))
        process.start()
        process.join(180)
        assert process.exitcode == 0, output.read_text()
        return output.read_text().strip().splitlines()[-1]


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["mltraq_prefect", "pandas", "pydantic"])


def _execute(folder, output):
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    sys.stdout = sys.stderr = output.open("w")
    runpy.run_path("script.py", run_name="__main__")
    sys.stdout.flush()
