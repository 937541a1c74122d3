import { type ClientReadableStream, type ServiceError, status as Code } from "@grpc/grpc-js";

import { type Backoff, pauseMs, sleep } from "./backoff.js";
import { fromServiceError, RecstreamError } from "./errors.js";
import { FrameReader, type Recommendations } from "./frames.js";
import type { StreamRecommendationsResponse } from "./gen/recstream/v1/recommendation_service.pb.js";

/** A connection that lasted so long makes the next break count as the first. */
const STEADY_MS = 5_000;

const HEALING: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.RESOURCE_EXHAUSTED,
  Code.ABORTED,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED, // streams carry no deadline of ours: a proxy's limit
  Code.INTERNAL, // proxies end long streams so
  Code.UNKNOWN,
  Code.DATA_LOSS, // a frame that broke the contract
]);

/** How a stream is held open. */
export interface Holding {
  backoff: Backoff;
  /** Milliseconds without even a heartbeat after which the server is taken for gone. */
  idleTimeoutMs: number;
  resume?: Recommendations | undefined;
  signal?: AbortSignal | undefined;
  onRetry?: ((error: RecstreamError, delayMs: number) => void) | undefined;
}

/** Whole lists; opens the stream again when it breaks, and cancels its call when the loop is left. */
export async function* lists(
  dial: (resumeToken: string) => ClientReadableStream<StreamRecommendationsResponse>,
  holding: Holding,
): AsyncGenerator<Recommendations, void, undefined> {
  const reader = new FrameReader(holding.resume);
  for (let attempt = 0; !holding.signal?.aborted; attempt += 1) {
    let answeredAt = 0;
    reader.connected();
    const call = dial(reader.resumeToken);
    const hangUp = (): void => call.cancel();
    holding.signal?.addEventListener("abort", hangUp);
    let failure: RecstreamError;
    try {
      for await (const { frame } of messages(call, holding.idleTimeoutMs)) {
        answeredAt ||= performance.now();
        const recommendations = frame && reader.read(frame);
        if (recommendations) yield recommendations;
      }
      failure = new RecstreamError("the server ended the stream", Code.UNAVAILABLE);
    } catch (error) {
      if (!(error instanceof RecstreamError)) throw error;
      failure = error;
    } finally {
      holding.signal?.removeEventListener("abort", hangUp);
      call.cancel();
    }
    if (holding.signal?.aborted) return;
    if (!HEALING.has(failure.code)) throw failure;
    if (answeredAt && performance.now() - answeredAt >= STEADY_MS) attempt = 0;
    const delay = pauseMs(holding.backoff, attempt, failure.retryAfterMs);
    holding.onRetry?.(failure, delay);
    await sleep(delay, holding.signal);
  }
}

async function* messages<T>(call: ClientReadableStream<T>, idleTimeoutMs: number): AsyncGenerator<T> {
  let silent = false;
  const watch = (): NodeJS.Timeout =>
    setTimeout(() => {
      silent = true;
      call.cancel();
    }, idleTimeoutMs);
  let watchdog = watch();
  try {
    for await (const message of call) {
      clearTimeout(watchdog); // the reader's own time does not count
      yield message as T;
      watchdog = watch();
    }
  } catch (error) {
    if (silent) throw new RecstreamError(`nothing came for ${idleTimeoutMs} ms`, Code.UNAVAILABLE);
    if (isServiceError(error)) throw fromServiceError(error);
    throw error;
  } finally {
    clearTimeout(watchdog);
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}
