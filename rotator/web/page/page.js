// The status page: asks the daemon now and then, and shows what it said. Text from outside only ever becomes text.

import { inFull } from "./details.js";
import { byId, count, explained, glyph, instant, make, none, now, parse, relative, setClock, show, span } from "./elements.js";
import { drawTimeline } from "./timeline.js";

const REFRESH = 15_000; // ms between two questions
const RETRY = 5_000; // and after one that was not answered
const PATIENCE = 10_000; // how long an answer may take
const ROWS = 60; // are shown at once, and so many more when the end comes near
const STUBBORN = 3; // failed runs after which it will not go away by itself
// Failure codes that a retry does not end: they name a command that a person has to run.
const NEED_A_PERSON = new Set([
  "not_adopted", "published_lost", "foreign_document", "unconfirmed_document", "foreign_journal", "journal_lost",
  "journal_newer",
]);
const NAMED = 3; // troubled accounts that the headline tells in full

const STATES = {
  ambiguous: ["Ambiguous", "has an unknown secret; rotator revokes nothing until a person decides"],
  failing: ["Failing", "the last run failed"],
  overdue: ["Overdue", "the rotation should have started more than an hour ago"],
  pending: ["Not adopted", "not adopted yet, or its journal was not read yet"],
  rotating: ["Rotating", "a rotation started and is not finished"],
  grace_period: ["Grace period", "the previous secret still works until its grace period ends"],
  idle: ["Idle", "nothing to do until the next rotation"],
  disabled: ["Disabled", "the configuration disables it"],
};
const RANK = Object.fromEntries(Object.keys(STATES).map((state, rank) => [state, rank]));

// Every column: its heading, and what it sorts by; null goes last either way.
const COLUMNS = {
  name: ["Account", (account) => account.place],
  state: ["State", (account) => RANK[account.state]],
  age: ["Secret's age", (account) => account.rotated && -account.rotated],
  rotation: ["Next rotation", (account) => account.due],
  revocation: ["Next revocation", (account) => account.revoke],
  secrets: ["Secrets", (account) => (!known(account) ? null : account.live_secrets + 1000 * account.unknown_secrets)],
  error: ["Last error", (account) => account.last_error],
};

const known = (account) => account.secret_id !== null || account.live_secrets > 0; // its journal was read
const collator = new Intl.Collator("en", { numeric: true });

const wish = { q: "", state: "", sort: "state", down: false }; // what the reader asked for; also in the address
const opened = new Set(); // names of accounts shown in full
const rows = new Map(); // name -> its row in the page
let fleet = null; // what the daemon said last
let accounts = []; // its accounts, prepared and sorted as wished
let found = []; // those of them that are wished for
let limit = ROWS;
let etag = null;
let heard = 0; // when it was last heard of, on this machine's steady clock
let silence = null; // why it is not heard of at the moment
let timer = 0;

function names(list) {
  const more = list.length - NAMED;
  return list.slice(0, NAMED).map((account) => account.name).join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

// --- asking ---------------------------------------------------------------------------------------------------

async function ask() {
  clearTimeout(timer);
  try {
    const answer = await fetch("api/status", {
      headers: etag === null ? {} : { "If-None-Match": etag },
      signal: AbortSignal.timeout(PATIENCE),
      cache: "no-store",
    });
    if (answer.status === 200) {
      const said = await answer.json();
      etag = answer.headers.get("ETag");
      understand(said);
    } else if (answer.status !== 304) {
      throw new Error(`it answered ${answer.status}`);
    }
    heard = performance.now();
    if (answer.status !== 200) fleet.at = Date.parse(answer.headers.get("Date")) || fleet.at;
    setClock(fleet.at);
    silence = null;
  } catch (error) {
    silence = error.message.startsWith("it answered") ? error.message : "there is no answer";
  }
  draw();
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, silence === null ? REFRESH : RETRY);
}

function understand(said) {
  fleet = { ...said, at: parse(said.at), started_at: parse(said.started_at) };
  accounts = said.accounts.map((account) => ({
    ...account,
    rotated: parse(account.rotated_at),
    due: parse(account.due_at),
    retry: parse(account.next_attempt_at),
    revoke: account.retiring.length ? Math.min(...account.retiring.map((entry) => parse(entry.not_before))) : null,
    text: [account.name, account.api_key, account.path, account.primary, account.last_error].join("\n").toLowerCase(),
  }));
  accounts.sort((one, other) => collator.compare(one.name, other.name));
  accounts.forEach((account, place) => { account.place = place; });
  sort();
}

// --- drawing --------------------------------------------------------------------------------------------------

function draw() {
  drawVerdict();
  tell();
  if (fleet === null) return;
  byId("timeline").hidden = byId("accounts").hidden = false;
  drawTimeline(accounts, now());
  drawStates();
  drawRows();
  if (!performance.getEntriesByName("rotator:first").length) performance.mark("rotator:first");
  byId("about").textContent =
    `rotator ${fleet.version}, ${fleet.instance}, running for ${span(now() - fleet.started_at)}` +
    (fleet.shard ? `, shard ${fleet.shard}: only its accounts are here` : "");
}

function tell() {
  const fresh = byId("freshness");
  const age = performance.now() - heard;
  const ago = age < 3000 ? "just now" : `${span(age)} ago`;
  if (fleet === null) fresh.textContent = silence === null ? "" : "No answer yet";
  else fresh.textContent = silence === null ? `Updated ${ago}` : `Data is ${span(age)} old`;
}

const is = (state) => accounts.filter((account) => account.state === state);
const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

// The answer to "do I have to get up?": how bad it is, one sentence, the accounts to look at, what else there is to say.
function verdict() {
  if (fleet === null) {
    return { mood: "gone", headline: "The daemon does not answer", notes: [sentence(silence), "This page goes on asking."], cases: [] };
  }
  const failing = is("failing");
  const stuck = [...is("ambiguous"), ...failing.filter((account) => account.attempts >= STUBBORN || account.retry === null || NEED_A_PERSON.has(account.failure))];
  const retried = failing.filter((account) => !stuck.includes(account));
  const overdue = is("overdue");
  const disabled = is("disabled").length;
  const named = (list, one, many) => (list.length ? [`${count(list.length, one, many)}: ${names(list)}`] : []);
  const again = named(retried, "account failed and is tried again by itself", "accounts failed and are tried again by themselves");
  const late = named(overdue, "account is overdue", "accounts are overdue");
  const aside = [
    ...named(is("pending"), "account is not adopted yet", "accounts are not adopted yet"),
    ...(disabled ? [`${count(disabled, "account is", "accounts are")} disabled`] : []),
  ];
  const breaker = fleet.circuit_breaker === null ? [] : [`The circuit breaker is open, no new rotation starts: ${fleet.circuit_breaker}`];
  const refused = fleet.configuration_error === null ? [] : [`The configuration file cannot be loaded, so the previous configuration stays in force: ${fleet.configuration_error}`];
  const say = (mood, headline, ...notes) => ({ mood, headline, notes: notes.flat().filter(Boolean).map(sentence), cases: stuck.slice(0, NAMED) });

  const needed = named(stuck, "account needs a person", "accounts need a person");
  if (silence !== null) {
    return say("gone", "The daemon does not answer", `${sentence(silence)} What you see is ${span(performance.now() - heard)} old`, needed, breaker, refused, again, late);
  }
  if (!fleet.ready) return say("trouble", "rotator is not ready", fleet.not_ready ?? "", needed, breaker, refused, again, late, aside);
  if (stuck.length) return say("trouble", needed[0], breaker, refused, again, late, aside);
  if (breaker.length) return say("trouble", "The circuit breaker is open: no new rotation starts", fleet.circuit_breaker, refused, again, late, aside);
  if (refused.length) return say("trouble", "The configuration file cannot be loaded", refused, again, late, aside);
  if (again.length) return say("watch", again[0], late, aside);
  if (late.length) return say("watch", late[0], aside);
  const well = accounts.length - disabled - is("pending").length;
  if (!well) return say("watch", disabled === accounts.length ? "Every account is disabled" : "No account is adopted yet", aside);
  const next = Math.min(...accounts.filter((account) => account.due !== null).map((account) => account.due));
  const then = next === Infinity ? "" : next > now() ? `; next rotation ${relative(next)}` : "; a rotation is due now";
  return say("well", (well === 1 ? "The account is well" : `All ${well.toLocaleString("en")} accounts are well`) + then, aside);
}

function drawVerdict() {
  if (fleet === null && silence === null) return;
  const { mood, headline, notes, cases } = verdict();
  byId("verdict").dataset.mood = mood;
  byId("mark").setAttribute("href", `#m-${mood}`);
  show(byId("headline"), headline, () => headline);
  show(byId("notes"), JSON.stringify([mood, notes, cases.map((account) => [account.name, account.last_error])]), () => {
    const looked = cases.map((account) => make("p", { class: "case" }, make("strong", {}, account.name), " ", ...explained(account.last_error ?? STATES[account.state][1])));
    const said = notes.map((note) => make("p", {}, ...explained(note)));
    // The present cause comes first: an account can have failed long before Vault was sealed.
    return fleet !== null && !fleet.ready ? [...said, ...looked] : [...looked, ...said];
  });
  document.title = `${headline} · rotator`;
}

function drawStates() {
  const counts = Object.fromEntries(Object.keys(STATES).map((state) => [state, 0]));
  for (const account of accounts) counts[account.state] += 1;
  const listed = Object.keys(STATES).filter((state) => counts[state] || wish.state === state);
  const group = byId("states");
  if (group.shown !== listed.join()) {
    show(group, listed.join(), () => ["", ...listed].map((state) => {
      const chip = make("button", { type: "button", class: "chip", "data-state": state, title: state && STATES[state][1] },
        state ? glyph(`s-${state}`, `glyph ${state}`) : null, state ? STATES[state][0] : "All", " ", make("b"));
      chip.addEventListener("click", () => want({ state: wish.state === state ? "" : state }));
      return chip;
    }));
  }
  for (const chip of group.children) {
    const { state } = chip.dataset;
    chip.lastElementChild.textContent = (state ? counts[state] : accounts.length).toLocaleString("en");
    chip.setAttribute("aria-pressed", String(wish.state === state));
  }
}

// --- the table ------------------------------------------------------------------------------------------------

function sort() {
  const by = COLUMNS[wish.sort][1];
  const turn = wish.down ? -1 : 1;
  const keyed = accounts.map((account) => [by(account), account]);
  keyed.sort(([one, first], [other, second]) => {
    if (one === other) return first.place - second.place;
    if (one === null || other === null) return one === null ? 1 : -1;
    return (one < other ? -1 : 1) * turn;
  });
  accounts = keyed.map(([, account]) => account);
  find();
}

function find() {
  const words = wish.q.toLowerCase().split(/\s+/).filter(Boolean);
  found = accounts.filter((account) => (!wish.state || account.state === wish.state) && words.every((word) => account.text.includes(word)));
}

function drawRows() {
  const whole = found.length === accounts.length;
  const said = whole ? count(found.length, "account") : `${found.length.toLocaleString("en")} of ${count(accounts.length, "account")}`;
  if (byId("count").textContent !== said) byId("count").textContent = said;
  byId("nothing").hidden = found.length > 0;
  for (const head of byId("columns").children) {
    const sorted = head.dataset.column === wish.sort;
    if (sorted) head.setAttribute("aria-sort", wish.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  const body = byId("rows");
  const focused = document.activeElement;
  const shown = new Set();
  let next = body.firstChild;
  const place = (element) => {
    if (element === next) next = next.nextSibling;
    else body.insertBefore(element, next);
  };
  for (const account of found.slice(0, limit)) {
    let row = rows.get(account.name);
    if (row === undefined) rows.set(account.name, (row = makeRow(account.name)));
    fill(row, account);
    place(row.line);
    if (opened.has(account.name)) place(row.full);
    shown.add(account.name);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
  for (const name of rows.keys()) if (!shown.has(name)) rows.delete(name);
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function makeRow(name) {
  const id = `full-${makeRow.made = (makeRow.made ?? 0) + 1}`;
  const toggle = make("button", { type: "button", class: "name", "aria-controls": id }, glyph("s-open", ""), make("span", {}, name));
  const key = make("span", { class: "below" });
  const cells = Object.fromEntries(Object.entries(COLUMNS).slice(1).map(([column, [label]]) =>
    [column, make("td", { role: "cell", "data-label": column === "error" ? null : label, class: column === "error" ? "error" : null })]));
  const line = make("tr", { role: "row" }, make("th", { role: "rowheader", scope: "row" }, toggle, key), ...Object.values(cells));
  const cell = make("td", { role: "cell", colspan: Object.keys(COLUMNS).length });
  const full = make("tr", { role: "row", class: "full", id }, cell);
  toggle.addEventListener("click", () => {
    if (!opened.delete(name)) opened.add(name);
    drawRows();
  });
  return { line, full, toggle, key, cells, cell };
}

function fill({ line, toggle, key, cells, cell }, account) {
  const open = opened.has(account.name);
  toggle.setAttribute("aria-expanded", String(open));
  line.classList.toggle("opened", open);
  const unfinished = account.rotating && account.state !== "rotating";
  show(key, account.api_key + account.path, () => `${account.api_key} · ${account.path}`);
  show(cells.state, account.state + account.rotating, () => [
    make("span", { class: "is", title: STATES[account.state][1] }, glyph(`s-${account.state}`, `glyph ${account.state}`), STATES[account.state][0]),
    unfinished ? make("span", { class: "below" }, "rotation not finished") : null,
  ]);
  time(cells.age, account.rotated, (ms) => span(now() - ms), "not known");
  time(cells.rotation, account.due, (ms) => (ms > now() ? relative(ms) : `due ${relative(ms)}`), "none", account.state === "overdue" ? "late" : null,
    account.request ? `requested: ${account.request.kind}` : account.overridden ? "in spite of its windows" : null);
  time(cells.revocation, account.revoke, (ms) => (ms > now() ? relative(ms) : "due"), "none", null,
    account.retiring.length > 1 ? `and ${account.retiring.length - 1} more` : null);
  show(cells.secrets, `${known(account)} ${account.live_secrets} ${account.unknown_secrets}`, () => [
    known(account) ? String(account.live_secrets) : none("not known"),
    account.unknown_secrets ? make("span", { class: "below wrong" }, `${account.unknown_secrets} unknown`) : null,
  ]);
  show(cells.error, account.last_error, () => (account.last_error === null ? [] : [make("span", { class: "clamped" }, account.last_error)]));
  if (open) show(cell, JSON.stringify(account) + Math.floor(now() / 30_000), () => inFull(account));
}

function time(cell, ms, text, absent, classes = null, below = null) {
  const said = ms === null ? absent : text(ms);
  show(cell, `${ms} ${said} ${classes} ${below}`, () => [
    ms === null ? none(absent) : instant(ms, said, classes),
    ms === null || below === null ? null : make("span", { class: "below" }, below),
  ]);
}

// --- what the reader wants ------------------------------------------------------------------------------------

function want(change) {
  Object.assign(wish, change);
  limit = ROWS;
  if ("sort" in change || "down" in change) sort();
  else find();
  drawStates();
  drawRows();
  remember();
}

let remembering = 0;
function remember() {
  clearTimeout(remembering); // a browser does not like its address changed at every keystroke
  remembering = setTimeout(() => history.replaceState(null, "", address() || location.pathname + location.search), 200);
}

function address() {
  const said = new URLSearchParams();
  if (wish.q) said.set("q", wish.q);
  if (wish.state) said.set("state", wish.state);
  if (wish.sort !== "state" || wish.down) said.set("sort", (wish.down ? "-" : "") + wish.sort);
  return said.size ? `#${said}` : "";
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  const by = (said.get("sort") ?? "state").replace(/^-/, "");
  wish.q = byId("search").value = said.get("q") ?? "";
  wish.state = Object.hasOwn(STATES, said.get("state") ?? "") ? said.get("state") : "";
  wish.sort = Object.hasOwn(COLUMNS, by) ? by : "state";
  wish.down = (said.get("sort") ?? "").startsWith("-");
  limit = ROWS;
  if (fleet === null) return;
  sort();
  drawStates();
  drawRows();
}

for (const [column, [label]] of Object.entries(COLUMNS)) {
  const button = make("button", { type: "button" }, label);
  button.addEventListener("click", () => want({ sort: column, down: wish.sort === column && !wish.down }));
  byId("columns").append(make("th", { role: "columnheader", scope: "col", "data-column": column }, button));
}
byId("search").addEventListener("input", (event) => want({ q: event.target.value }));
byId("reset").addEventListener("click", () => {
  byId("search").value = "";
  want({ q: "", state: "" });
  byId("search").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
  event.preventDefault();
  byId("search").focus();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
window.addEventListener("hashchange", recall);
new IntersectionObserver(([end]) => {
  if (!end.isIntersecting || limit >= found.length) return;
  limit += ROWS;
  drawRows();
}, { rootMargin: "1200px" }).observe(byId("more"));
setInterval(() => !document.hidden && tell(), 1000);

recall();
ask();
