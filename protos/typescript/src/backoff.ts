/** Pauses between tries: exponential, with full jitter below a ceiling. */
export interface Backoff {
  /** Ceiling of the first pause, in milliseconds. */
  initialMs: number;
  /** Ceiling of every pause, in milliseconds. */
  maximumMs: number;
}

export const DEFAULT_BACKOFF: Backoff = { initialMs: 100, maximumMs: 10_000 };

/** A server may request a longer pause than the back-off's, but at most this long. */
const LONGEST_REQUESTED_MS = 300_000;

/** Returns the pause before try `attempt` (from 0), in milliseconds. The jitter is added to the requested pause. */
export function pauseMs(
  backoff: Backoff,
  attempt: number,
  requestedMs = 0,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(backoff.maximumMs, backoff.initialMs * 2 ** attempt);
  return Math.min(Math.max(requestedMs, 0), LONGEST_REQUESTED_MS) + ceiling * (1 - random());
}

/** Waits. Returns early, without an error, when the signal is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
  });
}
