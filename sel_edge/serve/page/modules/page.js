// The page: one device, all its panels, and the news that they live on.

import { first, look } from "./first.js";
import { get, post, send, whenLoginIsNeeded } from "./api.js";
import { Connection } from "./connection.js";
import { Decisions } from "./decisions.js";
import { disable, find, named, say } from "./dom.js";
import { Embarrassment } from "./embarrassment.js";
import { clock, count, counted, kindInWords, names, sentenceInWords, short } from "./format.js";
import { Live } from "./live.js";
import { Queue } from "./queue.js";
import { valueNow } from "./series.js";
import { Versions } from "./versions.js";
import { Wallet } from "./wallet.js";

const TOAST_MS = { news: 5000, error: 15_000 };
const POINTS_MS = 10_000;
const MANY_VALUES = 20_000;
const EMBARRASSED = 1.5;
const ADAPT_TIMEOUT_MS = 600_000;
const STORED_KEYS = "sel-edge.keys";

let status = null;
let pointsAt = -Infinity;
let pointsPause_ms = POINTS_MS;
let isGettingPoints = false;
let isAdapting = false;
let toastTimer = 0;

function showToast(text, kind) {
  clearTimeout(toastTimer);
  find("toast").classList.toggle("bad", kind === "error");
  find("toast").textContent = text;
  toastTimer = setTimeout(() => say(find("toast"), ""), TOAST_MS[kind]);
}

const announce = (text) => showToast(text, "news");
const report = (error) => showToast(error.message, "error");

/** Ask in a dialog; whether a person agreed. */
function confirm(title, text, action) {
  const dialog = find("confirm");
  say(find("confirm-title"), title);
  say(find("confirm-text"), text);
  say(find("confirm-yes"), action);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((agree) => {
    dialog.addEventListener("close", () => agree(dialog.returnValue === "yes"), { once: true });
  });
}

const live = new Live();
const queue = new Queue(report, announce);
const embarrassment = new Embarrassment();
const wallet = new Wallet();
const decisions = new Decisions();
const versions = new Versions(report, announce, confirm);

const connection = new Connection({
  status: show,
  decision(event) {
    decisions.add([event], status?.utc_s ?? event.utc_s);
    announce(`${kindInWords(event.kind)}: ${event.reason}`);
    pointsAt = -Infinity;
  },
  lost() {
    const since = status === null ? "" : ` What you see is from ${clock(status.utc_s)}.`;
    say(find("lost"), `The connection to the device is lost; trying again.${since}`);
    find("lost").hidden = false;
    document.body.classList.add("is-lost");
  },
  found() {
    find("lost").hidden = true;
    document.body.classList.remove("is-lost");
    queue.reload();
    getEvents();
  },
});

function show(news) {
  status = news;
  find("page").hidden = false;
  find("login").hidden = true;
  find("parts").hidden = find("adapt").hidden = false;
  showHeader();
  showLede();
  live.show(status);
  queue.show(status);
  embarrassment.show(status, decisions.events);
  wallet.show(status);
  versions.show(status, decisions.events);
  say(find("model"), status.model);
  say(find("bundle"), short(status.bundle));
  say(find("network"), short(status.network));
  say(find("state"), status.state);
  getPoints();
}

function showHeader() {
  const { name, phase, queue: waits, errors, error } = status;
  say(find("name"), name);
  say(find("phase"), phase);
  find("phase").dataset.phase = phase;
  say(find("nav-waiting"), waits.waiting === 0 ? "" : String(waits.waiting));
  const asked = waits.waiting === 0 ? "" : `(${waits.waiting}) `;
  document.title = `${asked}${name} · sel-edge`;
  const isLearning = phase === "learning";
  disable(find("adapt"), isLearning || isAdapting);
  say(find("adapt"), isLearning ? "Learning …" : "Adapt now");
  find("trouble").hidden = error === "";
  say(
    find("trouble"),
    error === "" ? "" : `${error} (${counted(errors, "error")} since the start)`,
  );
}

/** The state of things in one sentence. */
function showLede() {
  const { classes, embarrassment: windows, normal, phase, answer, queue: waits } = status;
  const above = classes
    .map((name) => ({ name, ratio: (valueNow(windows[name]) ?? 0) / (normal[name] ?? Infinity) }))
    .filter(({ ratio }) => ratio > EMBARRASSED)
    .sort((a, b) => b.ratio - a.ratio)
    .map(({ name }) => name);
  const parts = [];
  if (answer === null) parts.push("No frame was seen yet.");
  else if (above.length === 0) parts.push("Nothing embarrasses this device beyond what is normal.");
  else parts.push("Embarrassed by ", named(names(above)), ".");
  if (phase === "learning") parts.push(" It is learning.");
  if (waits.waiting > 0) {
    const verb = waits.waiting === 1 ? "waits" : "wait";
    parts.push(` ${counted(waits.waiting, "frame")} ${verb} for your answer.`);
  }
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (find("lede").textContent !== text) find("lede").replaceChildren(...parts);
}

/** Points are many; they are asked for now and then, and less often the more there are. */
async function getPoints() {
  if (isGettingPoints || document.hidden || performance.now() - pointsAt < pointsPause_ms) return;
  isGettingPoints = true;
  try {
    const { points } = await get("points");
    const values = points.length * status.classes.length;
    pointsPause_ms = POINTS_MS * Math.max(1, values / MANY_VALUES);
    embarrassment.showPoints(points);
  } catch {
    // the connection's own watch says what is wrong
  } finally {
    isGettingPoints = false;
    pointsAt = performance.now();
  }
}

async function getEvents() {
  try {
    const { events } = await get("events?limit=200");
    decisions.add(events, status?.utc_s);
  } catch {
    // the connection's own watch says what is wrong
  }
}

async function adapt() {
  isAdapting = true;
  disable(find("adapt"), true);
  announce("Learning from all labels so far …");
  try {
    const answer = await post("adapt", undefined, ADAPT_TIMEOUT_MS);
    const sentences = (answer?.sentences ?? []).map(sentenceInWords);
    announce(
      sentences.length > 0 ? sentences.join(" ") : "It goes on; what comes of it is told here.",
    );
  } catch (error) {
    report(error);
  } finally {
    isAdapting = false;
    disable(find("adapt"), status?.phase === "learning");
  }
}

async function start(looking) {
  try {
    const { session, status: news } = await looking;
    find("logout-part").hidden = !session.token_needed;
    if (news === null) {
      showLogin();
      return;
    }
    show(news);
    await getEvents();
  } catch {
    // the connection tries again, and says so
  }
  connection.open();
}

function showLogin() {
  if (!find("login").hidden) return;
  connection.close();
  find("page").hidden = true;
  find("login").hidden = false;
  find("parts").hidden = find("adapt").hidden = true;
  say(find("phase"), "locked");
  find("token").focus();
}

async function logIn(event) {
  event.preventDefault();
  say(find("login-error"), "");
  try {
    await post("session", { token: find("token").value });
    find("token").value = "";
    find("login").hidden = true;
    await start(look());
    find("questions").focus({ preventScroll: true });
  } catch (error) {
    say(find("login-error"), error.status === 401 ? "The token is wrong." : error.message);
  }
}

async function logOut() {
  try {
    await send("DELETE", "session");
  } catch (error) {
    report(error);
    return;
  }
  showLogin();
}

function showTheme() {
  const { choice } = window.theme;
  say(find("theme-name"), choice);
  find("theme").setAttribute("aria-label", `Theme: ${choice}`);
}

function areKeysOn() {
  try {
    return localStorage.getItem(STORED_KEYS) !== "off";
  } catch {
    return true;
  }
}

/** Whether a key that was pressed at `target` is meant for the queue. */
function isForQueue(target) {
  if (target.matches("input, select, textarea, [role=slider]")) return false;
  if (document.querySelector("dialog[open]")) return false;
  return find("keys-on").checked || target.closest("#questions") !== null;
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (!isForQueue(event.target)) return;
  if (event.key === "?") openHelp();
  else if (find("page").hidden || !queue.press(event.key)) return;
  event.preventDefault();
}

function openHelp() {
  find("help-dialog").showModal();
}

whenLoginIsNeeded(showLogin);
find("adapt").addEventListener("click", adapt);
find("login-form").addEventListener("submit", logIn);
find("logout").addEventListener("click", logOut);
find("help").addEventListener("click", openHelp);
find("theme").addEventListener("click", () => {
  window.theme.next();
  showTheme();
});
find("keys-on").checked = areKeysOn();
find("keys-on").addEventListener("change", ({ target }) => {
  try {
    localStorage.setItem(STORED_KEYS, target.checked ? "on" : "off");
  } catch {
    // it holds for this visit only
  }
});
document.addEventListener("keydown", press);
showTheme();
start(first);
