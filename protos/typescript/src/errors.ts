import { Metadata, type ServiceError, status as Code } from "@grpc/grpc-js";

import type { Duration } from "./gen/google/protobuf/duration.pb.js";
import { BadRequest, RetryInfo } from "./gen/google/rpc/error_details.pb.js";
import { Status } from "./gen/google/rpc/status.pb.js";

/** One thing that is wrong with a request. */
export interface FieldViolation {
  /** The path of the field, such as `interaction.user_id`. */
  field: string;
  description: string;
}

/** The error that the client throws. `code` says which kind it is. */
export class RecstreamError extends Error {
  constructor(
    message: string,
    /** The gRPC status code. */
    readonly code: Code,
    /** The invalid fields, for INVALID_ARGUMENT. */
    readonly violations: readonly FieldViolation[] = [],
    /** Milliseconds that the server asks to wait before another try. */
    readonly retryAfterMs: number | undefined = undefined,
  ) {
    super(message);
    this.name = "RecstreamError";
  }

  /** Whether the same call may succeed a little later. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

const RETRYABLE: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.RESOURCE_EXHAUSTED,
  Code.ABORTED,
  Code.CANCELLED,
]);

const DETAILS_KEY = "grpc-status-details-bin";

/** Returns the error for a failed call, with the details that the server sent. */
export function fromServiceError(error: ServiceError): RecstreamError {
  const violations: FieldViolation[] = [];
  let retryAfterMs: number | undefined;
  for (const detail of details(error.metadata)) {
    if (detail.typeUrl.endsWith("/google.rpc.BadRequest")) {
      for (const { field, description } of BadRequest.decode(detail.value).fieldViolations) {
        violations.push({ field, description });
      }
    } else if (detail.typeUrl.endsWith("/google.rpc.RetryInfo")) {
      const delay = RetryInfo.decode(detail.value).retryDelay;
      if (delay) retryAfterMs = milliseconds(delay);
    }
  }
  return new RecstreamError(error.details || error.message, error.code, violations, retryAfterMs);
}

/** Returns a duration in milliseconds. */
export function milliseconds(duration: Duration | undefined): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}

function details(metadata: Metadata | undefined): Status["details"] {
  const [raw] = metadata?.get(DETAILS_KEY) ?? [];
  if (!(raw instanceof Uint8Array)) return [];
  try {
    return Status.decode(raw).details;
  } catch {
    return []; // details that do not parse must not hide the status
  }
}
