// What may still be spent, and where the joules went. Measured and estimated joules never add up.

import { element, find, keyed, say, set, svg } from "./dom.js";
import { amount, percent, purposeInWords, resourceInWords, scaled } from "./format.js";

const COUNTED = new Set(["flops_per_day", "flash_writes_per_day"]);

/** The panel. */
export class Wallet {
  show(status) {
    const { balances, spent } = status;
    find("no-limit").hidden = balances.length > 0;
    const origins = [...new Set(spent.map(({ energy }) => energy.origin))];
    keyed(
      find("balances"),
      balances,
      ({ resource }) => resource,
      balanceItem,
      (item, balance) => updateBalance(item, balance, origins),
    );
    keyed(
      find("spent"),
      origins,
      (origin) => origin,
      originGroup,
      (group, origin) =>
        updateGroup(
          group,
          spent.filter(({ energy }) => energy.origin === origin),
        ),
    );
    find("nothing-spent").hidden = spent.length > 0;
  }
}

function badge(origin) {
  return element("span", { class: `origin ${origin}` }, origin);
}

function balanceItem({ resource }) {
  const parts = {
    words: element("span", { class: "amount" }),
    left: svg("rect", { class: "left", height: "100%" }),
    origin: element("span", { class: "origin" }),
  };
  const item = element(
    "li",
    {},
    element("span", { class: "name" }, resourceInWords(resource)[0]),
    element("span", { class: "sum" }, parts.words, " ", parts.origin),
    svg("svg", { class: "bar", "aria-hidden": "true" }, parts.left),
  );
  item.parts = parts;
  return item;
}

function updateBalance(item, { resource, left, size }, origins) {
  const { words, left: bar, origin } = item.parts;
  const unit = resourceInWords(resource)[1];
  const share = size > 0 ? Math.min(Math.max(left / size, 0), 1) : 0;
  say(words, `${amount(left, unit)} of ${amount(size, unit)} left`);
  set(bar, { width: `${100 * share}%` });
  item.classList.toggle("low", share < 0.1);
  const from = COUNTED.has(resource) ? "counted" : origins.join(" and ") || "not spent yet";
  say(origin, from);
  set(origin, { class: `origin ${from}` });
}

function originGroup(origin) {
  const parts = {
    total: element("b"),
    bar: svg("svg", { class: "bar stacked", "aria-hidden": "true" }),
    rows: element("tbody"),
  };
  const heading = ["Purpose", "Energy", "Share", "Operations"].map((text, place) =>
    element("th", { scope: "col", class: place === 0 ? "text" : null }, text),
  );
  const caption = element("caption", { class: "hidden" }, `Where ${origin} joules went`);
  const table = element(
    "table",
    {},
    caption,
    element("thead", {}, element("tr", {}, ...heading)),
    parts.rows,
  );
  const group = element(
    "div",
    { class: "spent-group" },
    element("p", { class: "total" }, parts.total, " ", badge(origin)),
    parts.bar,
    element("div", { class: "scroll" }, table),
  );
  group.parts = parts;
  return group;
}

function updateGroup({ parts }, spent) {
  const total = spent.reduce((sum, { energy }) => sum + energy.joules, 0);
  const share = ({ energy }) => (total > 0 ? energy.joules / total : 0);
  say(parts.total, scaled(total, "J"));
  keyed(parts.bar, spent, ({ purpose }) => purpose, segment);
  let from = 0;
  spent.forEach((one, place) => {
    const width = 100 * share(one);
    set(parts.bar.children[place], {
      x: `${from}%`,
      width: `${width}%`,
      class: shadeOf(one, place),
    });
    from += width;
  });
  keyed(
    parts.rows,
    spent,
    ({ purpose }) => purpose,
    spentRow,
    (row, one) => {
      const place = spent.indexOf(one);
      const [name, energy, part, flops] = row.children;
      set(name.firstElementChild, { class: `swatch ${shadeOf(one, place)}` });
      say(energy, scaled(one.energy.joules, "J"));
      say(
        part,
        total > 0 && share(one) < 0.005 && share(one) > 0 ? "<\u00a01\u00a0%" : percent(share(one)),
      );
      say(flops, scaled(one.executed_flops, "FLOP"));
    },
  );
}

/** Inference is gray, learning is coloured, each rung a shade of its own. */
function shadeOf({ purpose }, place) {
  return purpose === "inference" ? "shade0" : `shade${1 + ((place + 3) % 4)}`;
}

const segment = () => svg("rect", { height: "100%" });

function spentRow({ purpose }) {
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row", class: "text" },
      element("span", { class: "swatch", "aria-hidden": "true" }),
      purposeInWords(purpose),
    ),
    element("td"),
    element("td"),
    element("td"),
  );
}
