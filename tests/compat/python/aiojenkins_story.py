import asyncio
import time

from aiojenkins import Jenkins, JenkinsError, JenkinsNotFoundError

from common import JOB, PASSWORD, URL, USER, equal


async def until(what, look):
    deadline = time.monotonic() + 60
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


async def build(server, name, **parameters):
    queued = await server.builds.start(name, parameters)

    async def executable():
        return (await server.queue.get_info(queued)).get("executable")

    return (await until("its number", executable))["number"]


async def ended(server, name, number):
    async def over():
        info = await server.builds.get_info(name, number)
        return None if info["building"] else info

    return await until("its end", over)


async def story(server):
    assert await server.is_ready()
    equal((await server.get_version()).major, 2)

    await server.jobs.create("aj", JOB % "first")
    equal(await server.jobs.get_config("aj"), JOB % "first")
    await server.jobs.reconfigure("aj", JOB % "second")
    equal((await server.jobs.get_info("aj"))["description"], "second")
    assert "aj" in await server.jobs.get_all()
    try:
        await server.jobs.create("aj", JOB)
        raise SystemExit("a job was created twice")
    except JenkinsError as refused:
        assert "already exists" in str(refused), refused

    number = await build(server, "aj", WHO="world")
    info = await ended(server, "aj", number)
    equal((number, info["result"]), (1, "SUCCESS"))
    equal([a["relativePath"] for a in info["artifacts"]], ["hello.txt"])
    assert "\nhello world\n" in await server.builds.get_output("aj", number)

    number = await build(server, "aj", SLOW="true")
    await server.builds.stop("aj", number)
    equal((await ended(server, "aj", number))["result"], "ABORTED")
    equal([b["number"] for b in await server.builds.get_all("aj")], [2, 1])

    await server.jobs.disable("aj")
    equal((await server.jobs.get_info("aj"))["buildable"], False)
    await server.jobs.enable("aj")

    await server.nodes.create("aj-node", {"numExecutors": 3, "remoteFS": "/w", "labelString": "a b"})
    equal((await server.nodes.get_info("aj-node"))["numExecutors"], 3)
    await server.nodes.disable("aj-node", "broken disk")
    equal((await server.nodes.get_info("aj-node"))["offlineCauseReason"], "broken disk")
    await server.nodes.enable("aj-node")
    await server.nodes.delete("aj-node")
    assert not await server.nodes.is_exists("aj-node")

    await server.jobs.copy("aj", "aj-copy")
    equal(await server.jobs.get_config("aj-copy"), JOB % "second")
    await server.jobs.rename("aj", "aj-renamed")
    assert not await server.jobs.is_exists("aj")
    equal((await server.jobs.get_info("aj-renamed"))["lastBuild"]["number"], 2)
    await server.builds.delete("aj-renamed", 1)
    assert not await server.builds.is_exists("aj-renamed", 1)
    for name in ["aj-copy", "aj-renamed"]:
        await server.jobs.delete(name)
        assert not await server.jobs.is_exists(name)
    token, uuid = await server.generate_token("aj")
    async with Jenkins(URL, USER, token) as by_token:
        await by_token.jobs.create("aj-token", JOB % "by token")
        await by_token.jobs.delete("aj-token")
    await server.revoke_token(uuid)
    try:
        await server.builds.get_queue_id_info(999_999)
        raise SystemExit("a queue item that never was is shown")
    except JenkinsNotFoundError:
        pass


async def main():
    async with Jenkins(URL, USER, PASSWORD) as server:
        await story(server)


asyncio.run(main())
