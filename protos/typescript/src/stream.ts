import { type ClientReadableStream, type ServiceError, status as Code } from "@grpc/grpc-js";

import { type Backoff, pauseMs, sleep } from "./backoff.js";
import { fromServiceError, RecstreamError } from "./errors.js";
import { FrameReader, type Recommendations } from "./frames.js";
import type { StreamRecommendationsResponse } from "./gen/recstream/v1/recommendation_service.pb.js";

/** After a connection that lasted this long, the next break counts as the first one. */
const STEADY_MS = 5_000;

const HEALING: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.RESOURCE_EXHAUSTED,
  Code.ABORTED,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED, // the client sets no deadline for streams, so it is the limit of a proxy
  Code.INTERNAL, // proxies end long streams with it
  Code.UNKNOWN,
  Code.DATA_LOSS, // a frame that broke the contract
]);

/** The options of a stream. */
export interface Holding {
  backoff: Backoff;
  /** Milliseconds without even a heartbeat after which the server counts as gone. */
  idleTimeoutMs: number;
  resume?: Recommendations | undefined;
  signal?: AbortSignal | undefined;
  onRetry?: ((error: RecstreamError, delayMs: number) => void) | undefined;
}

/** Yields whole lists. Opens the stream again when it breaks, and cancels the call when the loop is left. */
export async function* lists(
  dial: (resumeToken: string, answered: boolean) => ClientReadableStream<StreamRecommendationsResponse>,
  holding: Holding,
): AsyncGenerator<Recommendations, void, undefined> {
  const reader = new FrameReader(holding.resume);
  let answered = false; // whether any frame came
  for (let attempt = 0; !holding.signal?.aborted; attempt += 1) {
    let answeredAt = 0;
    reader.connected();
    const call = dial(reader.resumeToken, answered);
    const hangUp = (): void => call.cancel();
    holding.signal?.addEventListener("abort", hangUp);
    let failure: RecstreamError;
    try {
      for await (const { frame } of messages(call, holding.idleTimeoutMs)) {
        answeredAt ||= performance.now();
        answered = true;
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
      clearTimeout(watchdog); // the time that the caller takes does not count
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
