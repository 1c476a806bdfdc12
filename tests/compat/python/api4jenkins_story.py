import zipfile
from pathlib import Path

from api4jenkins import Jenkins
from api4jenkins.exceptions import AuthenticationError, BadRequestError

from common import FOLDER, JOB, PASSWORD, URL, USER, equal, until

server = Jenkins(URL, auth=(USER, PASSWORD))
assert server.exists() and server.version.startswith("2.")

server.create_job("a4", JOB % "first")
job = server.get_job("a4")
equal(job.configure(), JOB % "first")
job.configure(JOB % "second")
equal((job.description, job.full_name), ("second", "a4"))
try:
    server.create_job("a4", JOB)
    raise SystemExit("a job was created twice")
except BadRequestError as refused:
    assert "already exists" in str(refused), refused

build = until("its build", server.build_job("a4", WHO="world").get_build)
until("its end", lambda: not build.building)
equal((build.number, build.result), (1, "SUCCESS"))
equal({p.name: p.value for p in build.get_parameters()}, {"WHO": "world", "SLOW": False})
equal(build.get_causes()[0]["userId"], USER)
assert "hello world" in list(build.console_text())
assert "hello world" in list(build.progressive_output())
archive = Path(FOLDER) / "archive.zip"
build.save_artifacts(archive)
with zipfile.ZipFile(archive) as files:
    equal([files.read(name) for name in files.namelist() if name.endswith("hello.txt")], [b"hello world\n"])

build = until("its build", job.build(SLOW="true").get_build)
assert build in list(server.nodes.iter_builds())
build.stop()
until("its end", lambda: not build.building)
equal(build.result, "ABORTED")
equal([b.number for b in job], [2, 1])
equal(job.get_last_successful_build().number, 1)

job.disable()
assert not job.buildable
job.enable()

server.nodes.create("a4-node", numExecutors=3, labelString="a b")
node = server.nodes.get("a4-node")
equal(node.num_executors, 3)
node.delete()
assert server.nodes.get("a4-node") is None
node = server.nodes.get("agent-2")
node.disable("broken disk")
equal((node.offline, node.offline_cause_reason), (True, "broken disk"))
node.enable()
assert not node.offline

server.copy_job("a4", "a4-copy")
equal(server.get_job("a4-copy").configure(), JOB % "second")
server.create_job("a4-folder/inside", JOB % "inside", recursive=True)
server.rename_job("a4-folder", "a4-moved")
inside = server.get_job("a4-moved/inside")
inside.rename("in side")
equal(inside.full_name, "a4-moved/in side")
job.rename("a4-renamed")
equal((job.full_name, job.get_last_build().number), ("a4-renamed", 2))
assert server.get_job("a4") is None
for name in ["a4-copy", "a4-renamed", "a4-moved"]:
    server.delete_job(name)
    assert server.get_job(name) is None

user = server.users.get(USER)
token = user.generate_token("a4")
equal(Jenkins(URL, auth=(USER, token.value)).user.api_json()["id"], USER)
user.revoke_token(token.uuid)


def refused():
    try:
        return not Jenkins(URL, auth=(USER, token.value)).exists()
    except AuthenticationError:
        return True


until("the token to be refused", refused)
