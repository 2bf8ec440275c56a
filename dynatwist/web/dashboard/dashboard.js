"use strict";
// The token lives in this tab only: a page that is closed is logged out.
const $ = (id) => document.getElementById(id);
const POLL_MS = 1000, POINTS = 120, PAGE = 200;
let token = sessionStorage.getItem("dynakv-token");
let timer = null, last = null, rates = [], table = null, key = null, after = "";

async function call(method, path, body) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = await answer.json();
  if (answer.status === 401 && token) { logOut(); }
  if (!answer.ok) { throw new Error(content.error || answer.statusText); }
  return content;
}

function logOut() {
  token = null;
  sessionStorage.removeItem("dynakv-token");
  clearTimeout(timer);
  $("board").hidden = $("logout").hidden = true;
  $("login").hidden = false;
  $("record").textContent = "";
  $("password").focus();
}

function logIn(fresh) {
  token = fresh;
  sessionStorage.setItem("dynakv-token", token);
  $("login").hidden = true;
  $("board").hidden = $("logout").hidden = false;
  poll();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    const answer = await call("POST", "/admin/login", { password: $("password").value });
    $("password").value = "";
    logIn(answer.token);
  } catch (error) { $("login-error").textContent = error.message; }
});
$("logout").addEventListener("click", logOut);

function cell(row, text, className) {
  const td = row.insertCell();
  td.textContent = text;
  if (className) { td.className = className; }
}

function item(list, text, pressed, action, note) {
  const button = document.createElement("button");
  button.textContent = text;
  button.setAttribute("aria-pressed", pressed);
  if (note !== undefined) {
    const small = document.createElement("small");
    small.textContent = " " + note;
    button.append(small);
  }
  button.addEventListener("click", action);
  const li = document.createElement("li");
  li.append(button);
  list.append(li);
}

function showMembers(membership) {
  $("active").textContent = membership.active_count;
  const body = $("members");
  body.replaceChildren();
  for (const [address, node] of Object.entries(membership.nodes).sort()) {
    const row = body.insertRow();
    cell(row, address + (node.self ? " (this node)" : ""));
    cell(row, node.status, node.status);
    cell(row, node.ready ? "yes" : "no");
    cell(row, node.rtt_ms === null ? "–" : node.rtt_ms.toFixed(1) + " ms");
    cell(row, node.id);
  }
}

function showStats(stats) {
  const now = performance.now();
  $("node").textContent = stats.node;
  $("keys").textContent = stats.total_keys;
  $("latency").textContent = stats.average_latency_ms.toFixed(2);
  $("listeners").textContent = stats.active_sse_connections + stats.active_websocket_connections;
  $("conflicts").textContent = stats.conflicts;
  if (last) {
    const rate = (stats.total_requests - last.requests) / ((now - last.at) / 1000);
    rates = [...rates, Math.max(0, rate)].slice(-POINTS);
    $("rate").textContent = rate.toFixed(rate < 10 ? 1 : 0);
  }
  last = { requests: stats.total_requests, at: now };
  const top = Math.max(10, ...rates);
  $("line").setAttribute("points",
    rates.map((rate, n) => `${(600 * (n + POINTS - rates.length)) / (POINTS - 1)},${118 - (114 * rate) / top}`).join(" "));
}

function showTables(tables) {
  $("no-tables").hidden = tables.length > 0;
  $("tables").replaceChildren();
  for (const one of tables) { item($("tables"), one.name, one.name === table, () => openTable(one.name), one.keys); }
}

async function openTable(name) {
  table = name; key = null; after = "";
  $("table-name").textContent = name;
  $("keys-list").replaceChildren();
  $("record").textContent = "Choose a key.";
  $("key-name").textContent = "";
  await guarded(moreKeys);
}

async function moreKeys() {
  const query = new URLSearchParams({ limit: PAGE, after });
  const page = await call("GET", `/admin/table/${encodeURIComponent(table)}/keys?${query}`);
  for (const name of page.keys) { item($("keys-list"), name, false, () => openKey(name)); }
  after = page.next_after || "";
  $("more").hidden = !page.next_after;
}
$("more").addEventListener("click", () => guarded(moreKeys));

async function openKey(name) {
  key = name;
  for (const button of $("keys-list").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.textContent === name);
  }
  $("key-name").textContent = name;
  await guarded(showRecord);
}

async function showRecord() {
  const path = `/admin/table/${encodeURIComponent(table)}/key/${encodeURIComponent(key)}`;
  $("record").textContent = JSON.stringify(await call("GET", path), null, 2);
}

async function guarded(work) {
  try { await work(); $("trouble").textContent = ""; } catch (error) { $("trouble").textContent = error.message; }
}

async function poll() {
  clearTimeout(timer);
  await guarded(async () => {
    const [membership, stats, tables] = await Promise.all(
      [call("GET", "/membership"), call("GET", "/stats"), call("GET", "/admin/tables")]);
    showMembers(membership);
    showStats(stats);
    showTables(tables.tables);
  });
  if (token) { timer = setTimeout(poll, POLL_MS); }
}

if (token) { logIn(token); }
