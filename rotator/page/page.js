// The status page: asks the daemon now and then, and shows what it said. Text from outside only ever becomes text.

const REFRESH = 15_000; // ms between two questions
const RETRY = 5_000; // and after one that was not answered
const PATIENCE = 10_000; // how long an answer may take
const ROWS = 100; // are shown at once, and so many more when the end comes near
const DAYS = 30;
const DAY = 86_400_000;
const STUBBORN = 3; // failed runs after which it will not go away by itself
const NAMED = 3; // troubled accounts that the headline tells in full

const STATES = {
  ambiguous: ["Ambiguous", "holds a secret that rotator cannot account for, and deletes nothing until a person has looked"],
  failing: ["Failing", "the last run failed"],
  overdue: ["Overdue", "the rotation should have begun more than an hour ago"],
  pending: ["Not taken on", "not taken on yet, or its journal was not read yet"],
  rotating: ["Rotating", "a new secret is on its way"],
  overlap: ["Overlap", "the secret before still works, until its grace is over"],
  idle: ["Idle", "nothing to do until the next rotation"],
  disabled: ["Disabled", "the configuration says to leave it alone"],
};
const RANK = Object.fromEntries(Object.keys(STATES).map((state, rank) => [state, rank]));

// Every column: its heading, and what it sorts by; null goes last either way.
const COLUMNS = {
  name: ["Account", (account) => account.place],
  state: ["State", (account) => RANK[account.state]],
  age: ["Secret's age", (account) => account.rotated && -account.rotated],
  rotation: ["Next rotation", (account) => account.due],
  revocation: ["Next revocation", (account) => account.revoke],
  secrets: ["Secrets", (account) => (account.phase === null ? null : account.live_secrets + 1000 * account.unknown_secrets)],
  error: ["Last error", (account) => account.last_error],
};

const byId = (id) => document.getElementById(id);
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

// --- small things ---------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function glyph(id, classes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", classes);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

// Replaces an element's content only if it is to change: what a reader has selected stays selected.
function show(element, key, content) {
  if (element.shown === key) return;
  element.shown = key;
  element.replaceChildren(...[content()].flat().filter((part) => part !== null));
}

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const parse = (instant) => (instant === null ? null : Date.parse(instant));
const utc = (ms) => `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
const now = () => fleet.at + (performance.now() - fleet.arrived);

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return count(Math.round(seconds / 86_400), "day");
}

const relative = (ms) => (ms > now() ? `in ${span(ms - now())}` : `${span(now() - ms)} ago`);

function instant(ms, text, classes = null) {
  return make("time", { datetime: new Date(ms).toISOString(), title: utc(ms), class: classes }, text);
}

function names(list) {
  const more = list.length - NAMED;
  return list.slice(0, NAMED).map((account) => account.name).join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

// An error's text, with the commands in it in a form that can be copied.
function explained(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/: (rotator [a-z].*?)(?=[.;,](?:\s|$)|$)/g)) {
    parts.push(text.slice(end, match.index + 2), make("code", {}, match[1]));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
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
    fleet.arrived = heard = performance.now();
    fleet.at = answer.status === 200 ? fleet.at : Date.parse(answer.headers.get("Date")) || fleet.at;
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
  drawTimeline();
  drawStates();
  drawRows();
  byId("about").textContent =
    `rotator ${fleet.version}, ${fleet.runner}, running for ${span(now() - fleet.started_at)}` +
    (fleet.shard ? `, shard ${fleet.shard}: only its accounts are here` : "");
}

function tell() {
  const fresh = byId("freshness");
  if (fleet === null) fresh.textContent = silence === null ? "" : "No answer yet";
  else fresh.textContent = silence === null ? `Updated ${span(performance.now() - heard)} ago` : `Data is ${span(performance.now() - heard)} old`;
}

const is = (state) => accounts.filter((account) => account.state === state);

// The answer to "do I have to get up?": how bad it is, one sentence, and what else there is to say.
function verdict() {
  if (fleet === null) return silence === null ? null : ["gone", "The daemon does not answer", [sentence(silence), "This page asks again every few seconds."]];
  const failing = is("failing");
  const stuck = [...is("ambiguous"), ...failing.filter((account) => account.attempts >= STUBBORN || account.retry === null)];
  const retried = failing.filter((account) => !stuck.includes(account));
  const overdue = is("overdue");
  const notes = [
    ...(stuck.length ? cases(stuck) : []),
    fleet.brake === null ? null : `No new rotation begins: ${fleet.brake}`,
    retried.length ? `${count(retried.length, "account")} failed and ${retried.length === 1 ? "is" : "are"} tried again by itself: ${names(retried)}` : null,
    overdue.length ? `${count(overdue.length, "account")} ${overdue.length === 1 ? "is" : "are"} overdue: ${names(overdue)}` : null,
    is("pending").length ? `${count(is("pending").length, "account")} not taken on yet: ${names(is("pending"))}` : null,
    is("disabled").length ? `${count(is("disabled").length, "account")} disabled, left alone` : null,
  ].filter((note) => note !== null).map(sentence);

  if (silence !== null) return ["gone", "The daemon does not answer", [`${sentence(silence)} What you see is ${span(performance.now() - heard)} old.`, ...notes]];
  if (!fleet.ready) return ["trouble", "Not ready: nothing is rotated at the moment", [sentence(fleet.not_ready ?? ""), ...notes]];
  if (stuck.length) return ["trouble", `${count(stuck.length, "account needs", "accounts need")} a person: ${names(stuck)}`, notes];
  if (fleet.brake !== null) return ["trouble", "The brake is on: no new rotation begins", notes.map((note) => note.replace("No new rotation begins: ", ""))];
  if (retried.length || overdue.length) return ["watch", notes[0].replace(/\.$/, ""), notes.slice(1)];
  const enabled = accounts.length - is("disabled").length;
  if (!enabled) return ["watch", "No account is looked after", notes];
  const next = Math.min(...accounts.filter((account) => account.due !== null).map((account) => account.due));
  const then = next === Infinity ? "" : next > now() ? `; next rotation ${relative(next)}` : "; a rotation is due now";
  return ["well", (enabled === 1 ? "The account is well" : `All ${enabled.toLocaleString("en")} accounts are well`) + then, notes];
}

const sentence = (text) => (typeof text !== "string" || text === "" || /[.!?]$/.test(text) ? text : `${text}.`).toString();

function drawVerdict() {
  const said = verdict();
  if (said === null) return;
  const [mood, headline, notes] = said;
  byId("verdict").dataset.mood = mood;
  byId("mark").setAttribute("href", `#m-${mood}`);
  if (byId("headline").textContent !== headline) byId("headline").textContent = headline;
  document.title = `${headline} · rotator`;
}
