// Asks the device how it is, before anything else is done.

import { get } from "./api.js";

/** Whether the visitor may ask, and the status; null for who may not. */
export async function look() {
  const session = await get("session");
  return { session, status: session.signed_in ? await get("status") : null };
}

export const first = look();
first.catch(() => {}); // whoever waits for it hears of it
