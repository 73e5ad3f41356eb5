"use strict";

// The inbox: asks the API every second, draws the list anew when it has changed, shows one mail.
// Everything from a mail is set as text; its HTML is shown by the frame alone, under its own policy.

const $ = (id) => document.getElementById(id);
let drawn = "";
let shown = "";
let view = "html";

const who = (people) => people.map((p) => p.Name ? `${p.Name} <${p.Address}>` : p.Address).join(", ");

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function when(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

function row(mail) {
  const button = element("button", mail.Read ? "" : "unread", "");
  button.type = "button";
  button.dataset.id = mail.ID;
  if (mail.ID === shown) button.setAttribute("aria-current", "true");
  button.append(
    element("span", "to", who([...mail.To, ...mail.Cc, ...mail.Bcc])),
    element("span", "time", when(mail.Created)),
    element("span", "subject", mail.Subject || "(no subject)"),
    element("span", "snippet", mail.Snippet),
  );
  return button;
}

async function refresh() {
  const query = $("query").value.trim();
  const path = query
    ? `/api/v1/search?limit=200&query=${encodeURIComponent(query)}`
    : "/api/v1/messages?limit=200";
  let page;
  try {
    page = await ask(path);
  } catch {
    $("count").textContent = "not answering";
    return;
  }
  const state = JSON.stringify([shown, query, page]);
  if (state === drawn) return;
  drawn = state;
  $("list").replaceChildren(...page.messages.map(row));
  const found = query ? `${page.messages_count} of ` : "";
  const noun = page.total === 1 ? "mail" : "mails";
  $("count").textContent = `${found}${page.total} ${noun}, ${page.unread} unread`;
  document.title = page.unread ? `(${page.unread}) Mailbox` : "Mailbox";
  $("nothing").textContent = page.total
    ? "Choose a mail on the left."
    : "No mail yet. What the shop sends arrives here.";
}

function pairs(list, entries) {
  list.replaceChildren(...entries.flatMap(([name, value]) => [
    element("dt", "", name), element("dd", "", value),
  ]));
}

async function open(id) {
  let mail;
  let headers;
  try {
    mail = await ask(`/api/v1/message/${encodeURIComponent(id)}`);
    headers = await ask(`/api/v1/message/${encodeURIComponent(id)}/headers`);
  } catch {
    return close();
  }
  shown = mail.ID;
  $("subject").textContent = mail.Subject || "(no subject)";
  const people = [["From", who([mail.From])], ["To", who(mail.To)], ["Cc", who(mail.Cc)],
    ["Bcc", who(mail.Bcc)], ["Date", new Date(mail.Date).toLocaleString()]];
  pairs($("people"), people.filter(([, value]) => value));
  pairs($("headers"), Object.entries(headers).flatMap(([name, all]) => all.map((v) => [name, v])));
  $("text").textContent = mail.Text;
  $("html").src = mail.HTML ? `/view/${mail.ID}.html` : "about:blank";
  choose(view === "html" && !mail.HTML ? "text" : view);
  $("mail").hidden = false;
  $("nothing").hidden = true;
  document.querySelector("main").classList.add("reading");
  await refresh();
}

function close() {
  shown = "";
  $("mail").hidden = true;
  $("nothing").hidden = false;
  document.querySelector("main").classList.remove("reading");
  refresh();
}

function choose(name) {
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.setAttribute("aria-selected", String(tab.dataset.view === name));
    $(tab.dataset.view).hidden = tab.dataset.view !== name;
  }
}

function follow() {
  const id = location.hash.slice(1);
  if (id) open(id); else close();
}

function step(by) {
  const ids = [...document.querySelectorAll("nav button")].map((button) => button.dataset.id);
  const next = ids[Math.max(0, Math.min(ids.length - 1, ids.indexOf(shown) + by))];
  if (next) location.hash = next;
}

$("list").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) location.hash = button.dataset.id;
});
$("tabs").addEventListener("click", (event) => {
  const tab = event.target.closest("button");
  if (tab) choose(view = tab.dataset.view);
});
$("back").addEventListener("click", () => { location.hash = ""; });
$("query").addEventListener("input", refresh);
$("clear").addEventListener("click", async () => {
  await fetch("/api/v1/messages", { method: "DELETE" });
  location.hash = "";
  refresh();
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input")) return;
  if (event.key === "ArrowDown" || event.key === "j") { event.preventDefault(); step(1); }
  if (event.key === "ArrowUp" || event.key === "k") { event.preventDefault(); step(-1); }
});
window.addEventListener("hashchange", follow);
follow();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
