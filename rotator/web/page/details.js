// All that is known of one account, as shown when its row is opened.

import { explained, make, now, parse, relative, utc } from "./elements.js";

function money(balance) {
  if (!balance || balance.euros === null) return null;
  const reload = balance.auto_reload === null ? "" : balance.auto_reload ? ", can be topped up" : ", cannot be topped up";
  const low = balance.low ? make("span", { class: "wrong" }, ` low, below ${balance.threshold.toFixed(2)}`) : null;
  return make("span", {}, `${balance.euros.toFixed(2)} euros${reload}`, low, make("span", { class: "soft" }, ` read ${relative(parse(balance.read_at))}`));
}

function requested(request) {
  if (!request) return null;
  const at = parse(request.at);
  return make("span", {}, `${request.kind}, by ${request.by}, ${utc(at)}`, make("span", { class: "soft" }, ` ${relative(at)}`));
}

function leased(account) {
  if (account.lease_holder === null || account.lease_until === null) return null;
  const until = parse(account.lease_until);
  if (until <= now()) return null; // the instance died, or was stopped, and its lease is over
  return make("span", {}, account.lease_holder, make("span", { class: "soft" }, ` until ${utc(until)}`));
}

export function inFull(account) {
  const at = (ms) => (ms === null ? null : make("span", {}, utc(ms), make("span", { class: "soft" }, ` ${relative(ms)}`)));
  const facts = [
    ["API key", account.api_key],
    ["Published at", account.path],
    ["Primary account", account.primary],
    ["Published secret", account.secret_id],
    ["Published since", at(account.rotated)],
    ["Next rotation", at(account.due)],
    ["Requested", requested(account.request)],
    ...account.retiring.map((entry) => ["To be revoked", make("span", {}, entry.id, make("br"), at(parse(entry.not_before)))]),
    ["Balance", money(account.balance)],
    ["Lease holder", leased(account)],
    ["Failed runs", account.attempts ? String(account.attempts) : null],
    ["Tried again", at(account.retry)],
  ].filter(([, value]) => value !== null);
  return [
    account.last_error === null ? null : make("p", { class: "said" }, ...explained(account.last_error)),
    make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
  ];
}
