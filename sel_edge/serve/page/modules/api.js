// What the device is asked, and what it says when it refuses.

const TIMEOUT_MS = 30_000;

/** A request that was refused or got no answer, in sentences for a person. */
export class ApiError extends Error {
  constructor(status, sentences) {
    super(sentences.filter(Boolean).join(" "));
    this.status = status;
  }
}

let onLogin = () => {};

/** Call `listener` whenever the device wants a token. */
export function whenLoginIsNeeded(listener) {
  onLogin = listener;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** The value of a JSON text. Its objects inherit nothing: a class may be called "constructor". */
export function parse(text) {
  return JSON.parse(text, (_, value) =>
    isObject(value) ? Object.setPrototypeOf(value, null) : value,
  );
}

async function refusal(response) {
  try {
    const { found, expected, action } = parse(await response.text()).error;
    return new ApiError(response.status, [found, expected, action]);
  } catch {
    return new ApiError(response.status, [`The device answered with status ${response.status}.`]);
  }
}

async function ask(method, path, body, timeout_ms = TIMEOUT_MS) {
  const options = { method, cache: "no-store", signal: AbortSignal.timeout(timeout_ms) };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`api/v1/${path}`, options);
  } catch {
    throw new ApiError(0, ["The device does not answer."]);
  }
  if (response.status === 401 && path !== "session") onLogin();
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The JSON answer, or null if there is none. */
export async function get(path, timeout_ms) {
  return parse(await (await ask("GET", path, undefined, timeout_ms)).text());
}

export async function send(method, path, body, timeout_ms) {
  const text = await (await ask(method, path, body, timeout_ms)).text();
  return text === "" ? null : parse(text);
}

export const post = (path, body, timeout_ms) => send("POST", path, body, timeout_ms);

/** The answer itself, for pictures. */
export const getRaw = (path) => ask("GET", path);
