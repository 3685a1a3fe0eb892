// Embarrassment over time, taken out of the points that the device sends.

/** Embarrassment now: by labels where there are any, else estimated; null if unknown. */
export function valueNow(windows) {
  if (windows === undefined) return null;
  return windows.exact ?? windows.standin;
}

export const isExact = (windows) => windows !== undefined && windows.exact !== null;

export function mean(values) {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

const valueAt = (point, name) =>
  name === null
    ? mean(Object.values(point.values).filter(Number.isFinite))
    : (point.values[name] ?? null);

/** The curve of a class, or with null the mean of all, as [{t, frame, value}]; it ends now. */
export function curve(points, status, name) {
  const found = points.map((point) => ({
    t: point.utc_s,
    frame: point.frame,
    value: valueAt(point, name),
  }));
  const now = name === null ? meanNow(status) : valueNow(status.embarrassment[name]);
  if (found.length === 0 || status.utc_s > found.at(-1).t) {
    found.push({ t: status.utc_s, frame: status.flow.seen, value: now });
  }
  return found.filter(({ value }) => value !== null);
}

/** Mean over the classes of which something is known now. */
export function meanNow(status) {
  const values = Object.values(status.embarrassment).map(valueNow);
  return mean(values.filter((value) => value !== null));
}

/** What is normal for a class, or with null for all; null where that is not known. */
export function normalOf(status, name) {
  return name === null ? mean(Object.values(status.normal)) : (status.normal[name] ?? null);
}

/** The curve of one class as `bins` means over equal spans of time; null where nothing is known. */
export function binned(points, name, bins) {
  const sums = Array.from({ length: bins }, () => [0, 0]);
  if (points.length === 0) return sums.map(() => null);
  const first = points[0].utc_s;
  const span = Math.max(points.at(-1).utc_s - first, 1e-9);
  for (const point of points) {
    const value = point.values[name];
    if (!Number.isFinite(value)) continue;
    const sum = sums[Math.min(bins - 1, Math.floor((bins * (point.utc_s - first)) / span))];
    sum[0] += value;
    sum[1] += 1;
  }
  return sums.map(([total, n]) => (n === 0 ? null : total / n));
}

/** When a decision was made; by its frame where its own time is not known. */
export function momentOf(event, points) {
  if (event.utc_s !== null) return event.utc_s;
  const later = points.find((point) => point.frame >= event.frame);
  return later === undefined || event.frame < points[0].frame ? null : later.utc_s;
}
