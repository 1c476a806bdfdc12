import jenkins

from common import JOB, PASSWORD, URL, USER, equal, until

server = jenkins.Jenkins(URL, USER, PASSWORD)


def build(name, **parameters):
    queued = server.build_job(name, parameters)
    return until("its number", lambda: server.get_queue_item(queued).get("executable"))["number"]


def ended(name, number):
    until("its end", lambda: not server.get_build_info(name, number)["building"])
    return server.get_build_info(name, number)


equal(server.get_whoami()["id"], USER)
equal(server.get_version().split(".")[0], "2")

server.create_job("pj", JOB % "first")
equal(server.get_job_config("pj"), JOB % "first")
server.reconfig_job("pj", JOB % "second")
equal(server.get_job_info("pj")["description"], "second")
assert "pj" in [job["name"] for job in server.get_jobs()]
try:
    server.create_job("pj", JOB)
    raise SystemExit("a job was created twice")
except jenkins.JenkinsException as refused:
    assert "already exists" in str(refused), refused

number = build("pj", WHO="world")
info = ended("pj", number)
equal((number, info["result"]), (1, "SUCCESS"))
equal([a["relativePath"] for a in info["artifacts"]], ["hello.txt"])
console = server.get_build_console_output("pj", number)
assert "\nhello world\n" in console and console.endswith("Finished: SUCCESS\n"), console
equal(server.get_build_artifact_as_bytes("pj", number, "hello.txt"), b"hello world\n")

number = build("pj", SLOW="true")
until("its executor", lambda: ("pj", number) in [(b["name"], b["number"]) for b in server.get_running_builds()])
server.stop_build("pj", number)
equal(ended("pj", number)["result"], "ABORTED")

server.disable_job("pj")
equal(server.get_job_info("pj")["buildable"], False)
server.enable_job("pj")

server.create_node("pj-node", numExecutors=3, remoteFS="/w", labels="a b", launcher=jenkins.LAUNCHER_JNLP)
assert server.node_exists("pj-node")
equal(server.get_node_info("pj-node")["numExecutors"], 3)
server.delete_node("pj-node")
assert not server.node_exists("pj-node")
server.disable_node("agent-1", "broken disk")
info = server.get_node_info("agent-1")
equal((info["offline"], info["offlineCauseReason"]), (True, "broken disk"))
server.enable_node("agent-1")
equal(server.get_node_info("agent-1")["offline"], False)

server.copy_job("pj", "pj-copy")
equal(server.get_job_config("pj-copy"), JOB % "second")
server.rename_job("pj", "pj-renamed")
assert not server.job_exists("pj")
equal(server.get_job_info("pj-renamed")["lastBuild"]["number"], 2)
server.create_folder("pj-folder")
server.create_job("pj-folder/inside", JOB % "inside")
server.rename_job("pj-folder", "pj-moved")
server.rename_job("pj-moved/inside", "pj-moved/in side")
equal(server.get_job_info("pj-moved/in side")["fullName"], "pj-moved/in side")

server.delete_build("pj-renamed", 1)
equal([b["number"] for b in server.get_job_info("pj-renamed")["builds"]], [2])
for job in ["pj-copy", "pj-renamed", "pj-moved"]:
    server.delete_job(job)
    assert not server.job_exists(job)
