// The timeline: how many rotations and revocations the next 30 days bring.

import { byId, count, make, parse, show } from "./elements.js";

const DAYS = 30;
const DAY = 86_400_000;

export function drawTimeline(accounts, now) {
  const today = Math.floor(now / DAY);
  const days = Array.from({ length: DAYS }, () => [0, 0]);
  const note = (ms, kind) => {
    const day = Math.max(0, Math.floor(ms / DAY) - today); // what is late is for today
    if (day < DAYS) days[day][kind] += 1;
  };
  for (const account of accounts) {
    if (account.due !== null) note(account.due, 0);
    if (account.enabled) account.retiring.forEach((entry) => note(parse(entry.not_before), 1));
  }
  show(byId("chart"), JSON.stringify([today, days]), () => {
    const most = days.reduce(([up, down], day) => [Math.max(up, day[0]), Math.max(down, day[1])], [0, 0]);
    const totals = days.reduce(([up, down], day) => [up + day[0], down + day[1]], [0, 0]);
    const busiest = days.findIndex((day) => day[0] === most[0]);
    const up = count(totals[0], "rotation");
    const down = count(totals[1], "revocation");
    byId("total-up").textContent = up;
    byId("total-down").textContent = down;
    byId("chart").setAttribute("aria-label", `${up} and ${down} in the next 30 days` + (most[0] ? `; most rotations on ${date(today + busiest)}: ${most[0]}` : ""));
    const top = Math.max(...most, 1);
    byId("chart").style.setProperty("--deep", most[1] / top);
    return days.map((day, index) => column(today + index, index, day, most, top));
  });
  if (byId("days").open) drawDays(today, days);
  byId("days").ontoggle = () => drawDays(today, days);
}

const date = (day) => new Date(day * DAY).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });

function column(day, index, [rotations, revocations], [mostUp, mostDown], top) {
  const bar = (number) => {
    const element = make("i");
    element.style.setProperty("--share", number / top);
    return element;
  };
  const up = make("div", { class: "up" });
  const down = make("div", { class: "down" });
  if (rotations) up.append(rotations === mostUp ? rotations.toLocaleString("en") : "", bar(rotations));
  if (revocations) down.append(bar(revocations), revocations === mostDown ? revocations.toLocaleString("en") : "");
  const short = new Date(day * DAY).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const label = index === 0 ? "Today" : index % 7 === 0 ? short : null;
  const title = `${index === 0 ? "Today, " : ""}${date(day)} (UTC): ${count(rotations, "rotation")}, ${count(revocations, "revocation")}`;
  return make("div", { class: index === 0 ? "day today" : "day", title }, up, down, make("div", { class: "date" }, label === null ? null : make("span", {}, label)));
}

function drawDays(today, days) {
  show(byId("days").lastElementChild, JSON.stringify([today, days]), () => make("table", {},
    make("thead", {}, make("tr", {}, ...["Day (UTC)", "Rotations", "Revocations"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...days.map((day, index) => make("tr", {}, make("th", { scope: "row" }, date(today + index)), make("td", {}, String(day[0])), make("td", {}, String(day[1]))))),
  ));
}
