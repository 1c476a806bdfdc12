"use strict";
// Shows moments in the reader's time, keeps the first page fresh, follows the log of a build.
(() => {
  const base = document.body.dataset.base;
  // The page's own address may hold a name and password, with which nothing can be fetched.
  const at = (path) => new URL(path, location.origin + location.pathname).href;
  const show = (millis) => new Date(Number(millis)).toLocaleString();
  const moments = () => {
    for (const time of document.querySelectorAll("time[data-millis]")) {
      time.textContent = show(time.dataset.millis);
      time.dateTime = new Date(Number(time.dataset.millis)).toISOString();
    }
  };
  const words = {
    blue: "success", yellow: "unstable", red: "failure", aborted: "aborted", disabled: "disabled", notbuilt: "not built",
  };
  const make = (name, text, attributes) => {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    return element;
  };
  const mark = (kind, word) => make("span", word, { class: "mark " + kind });
  const fill = (table, rows) => {
    const body = document.createElement("tbody");
    for (const cells of rows) {
      const row = body.insertRow();
      for (const cell of cells) row.insertCell().append(cell);
    }
    table.tBodies[0].replaceWith(body);
  };
  const get = async (path) => {
    const answer = await fetch(at(base + path), { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error("the controller answers " + answer.status);
    return answer.json();
  };

  const refresh = async () => {
    const fresh = document.getElementById("fresh");
    try {
      const [state, root] = await Promise.all([
        get("replicas/api/json"),
        get("api/json?tree=jobs[name,url,color,nextBuildNumber]{0,500}"),
      ]);
      fill(document.getElementById("jobs"), root.jobs.map((job) => {
        const path = new URL(job.url).pathname;
        const name = make("a", job.name, { href: path });
        if (!job.color) return [mark("folder", "folder"), name, ""];
        const last = job.nextBuildNumber - 1;
        const build = last ? make("a", "#" + last, { href: path + "lastBuild/" }) : "–";
        return [mark(job.color, words[job.color] || "building"), name, build];
      }));
      const count = (list) => String(Array.isArray(list) ? list.length : list);
      fill(document.getElementById("replicas"), state.replicas.map((replica) => [
        replica.name, mark(replica.state, replica.state), count(replica.builds), count(replica.agents),
        show(replica.since), replica.version,
      ]));
      const holder = state.startupLock.holder;
      document.getElementById("lock").textContent =
        holder ? holder + " holds the startup lock." : "The startup lock is free.";
      fresh.textContent = "";
    } catch (error) {
      fresh.textContent = "Not up to date: " + error.message;
    }
    setTimeout(refresh, document.hidden ? 10000 : 2000);
  };

  const follow = async (pre) => {
    let start = 0;
    for (;;) {
      let more = true;
      try {
        const answer = await fetch(at(pre.dataset.log + "?start=" + start));
        if (answer.ok) {
          const text = await answer.text();
          const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
          if (text) pre.append(text);
          if (atEnd) pre.scrollTop = pre.scrollHeight;
          start = Number(answer.headers.get("X-Text-Size"));
          more = answer.headers.get("X-More-Data") === "true";
          if (!more) return;
        }
      } catch (error) {
        // the replica went away; another one answers the next time
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };

  moments();
  if (document.getElementById("replicas") && document.getElementById("jobs")) setTimeout(refresh, 2000);
  const log = document.querySelector("pre[data-log]");
  if (log) follow(log);
})();
