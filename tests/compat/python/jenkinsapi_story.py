from jenkinsapi.jenkins import Jenkins

from common import JOB, PASSWORD, URL, USER, equal, until

server = Jenkins(URL, USER, PASSWORD, use_crumb=True)

job = server.create_job("ja", JOB % "first")
equal(job.get_config(), JOB % "first")
job.update_config(JOB % "second")
equal(server.get_job("ja").get_description(), "second")
assert "ja" in server and "ja" in server.keys()

build = job.invoke(build_params={"WHO": "world"}).block_until_building(delay=0.1)
build.block_until_complete(delay=0.1)
build.poll()
equal((build.get_number(), build.get_status()), (1, "SUCCESS"))
equal(build.get_params()["WHO"], "world")
assert "\nhello world\n" in build.get_console(), build.get_console()
equal(build.get_artifact_dict()["hello.txt"].get_data(), b"hello world\n")

build = job.invoke(build_params={"SLOW": "true"}).block_until_building(delay=0.1)
assert build.is_running() and build.stop()
until("its end", lambda: not build.is_running())
build.poll()
equal(build.get_status(), "ABORTED")
equal((job.get_last_buildnumber(), job.get_last_good_buildnumber()), (2, 1))

job.disable()
assert not job.is_enabled()
job.enable()

node = server.create_node("ja-node", num_executors=3, remote_fs="/w", labels="a b")
equal((node.get_num_executors(), node.get_labels()), ("3", "a b"))
node.toggle_temporarily_offline("broken disk")
equal(node.poll(tree="offlineCauseReason")["offlineCauseReason"], "broken disk")
node.toggle_temporarily_offline()
server.delete_node("ja-node")
assert "ja-node" not in server.get_nodes()

equal(server.copy_job("ja", "ja-copy").get_config(), JOB % "second")
renamed = server.rename_job("ja", "ja-renamed")
equal(renamed.get_last_buildnumber(), 2)
assert "ja" not in server.keys()
for name in ["ja-copy", "ja-renamed"]:
    server.delete_job(name)
    assert not server.has_job(name)

server.create_user("ja-user", "ja secret", "J. A.", "ja@example.org")
signed_in = Jenkins(URL, "ja-user", "ja secret", use_crumb=True)
token = signed_in.generate_new_api_token("for ja")
equal((len(token), token[:2]), (34, "11"))
# a token needs no crumb
by_token = Jenkins(URL, "ja-user", token)
by_token.create_job("ja-token", JOB % "by token")
by_token.delete_job("ja-token")
# signs in as a browser does, by the old name of the address
signed_in.use_auth_cookie()
assert signed_in.requester.AUTH_COOKIE.startswith("JSESSIONID."), "no session"
server.delete_user("ja-user")
