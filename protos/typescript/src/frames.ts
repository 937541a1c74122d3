import { status as Code } from "@grpc/grpc-js";

import { milliseconds, RecstreamError } from "./errors.js";
import type { Cause, Delta, Frame } from "./gen/recstream/v1/frame.pb.js";
import { type RankedItem, Slate } from "./gen/recstream/v1/slate.pb.js";

/** A whole list, best first, with the events that led to it. */
export interface Recommendations extends Slate {
  causes: readonly Cause[];
  /** False: the deadline came before the list could include all of `after` and `afterEventIds`. */
  includesEvents: boolean;
  /** Where to resume; see `StreamOptions.resume`. */
  resumeToken: string;
}

/** Applies a delta: takes out the items that it removes or places, and inserts the placed ones in order. */
export function applyDelta(delta: Delta, items: readonly RankedItem[]): RankedItem[] {
  const gone = new Set(delta.removedItemIds);
  const placed = new Map<number, RankedItem>();
  for (const { position, item } of delta.placed) {
    if (!item || position < 0 || position >= delta.length) throw violation("a delta places no item, or places it outside of the list");
    gone.add(item.itemId);
    placed.set(position, item);
  }
  const kept = items.filter((item) => !gone.has(item.itemId));
  if (kept.length + placed.size !== delta.length || placed.size !== delta.placed.length) {
    throw violation(`a delta does not lead to a list of ${delta.length} items`);
  }
  // Inserting in ascending order has this result: placed items are at their positions, and kept items fill the rest.
  let next = 0;
  return Array.from({ length: delta.length }, (_, place) => placed.get(place) ?? kept[next++]!);
}

/** Holds the list that a stream's frames describe, across connections. */
export class FrameReader {
  /** The token of the list that is held. */
  resumeToken: string;
  private expected = 1n;

  constructor(private held: Recommendations | undefined) {
    this.resumeToken = held?.resumeToken ?? "";
  }

  /** Expects the first frame of a connection next. */
  connected(): void {
    this.expected = 1n;
  }

  /** Returns the new list, if the frame has one. Throws if the stream must be opened again. */
  read(frame: Frame): Recommendations | undefined {
    if (frame.sequence !== this.expected) {
      throw violation(`frame ${frame.sequence} came, but frame ${this.expected} was expected`);
    }
    this.expected += 1n;
    if (frame.goAway) {
      if (frame.resumeToken && this.held) this.resumeToken = frame.resumeToken;
      const delay = milliseconds(frame.goAway.reconnectAfter);
      throw new RecstreamError("the server is about to end the stream", Code.UNAVAILABLE, [], delay);
    }
    const change = frame.snapshot ?? frame.delta;
    if (!change) return undefined; // a heartbeat, or a kind that only a newer server has
    const slate = change.slate ?? Slate.create();
    const items = frame.delta ? this.patched(frame.delta) : slate.items;
    this.resumeToken = frame.resumeToken;
    const includesEvents = frame.includesEvents ?? true;
    this.held = { ...slate, items, causes: frame.causedBy, includesEvents, resumeToken: frame.resumeToken };
    return this.held;
  }

  private patched(delta: Delta): RankedItem[] {
    try {
      if (!this.held) throw violation("a delta came before any list");
      return applyDelta(delta, this.held.items);
    } catch (error) {
      this.resumeToken = ""; // the list is in doubt, so the next stream begins with a whole one
      throw error;
    }
  }
}

function violation(message: string): RecstreamError {
  return new RecstreamError(message, Code.DATA_LOSS);
}
