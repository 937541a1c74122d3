import { randomUUID } from "node:crypto";

import {
  type CallOptions,
  type ChannelCredentials,
  type ClientOptions,
  type ClientUnaryCall,
  credentials as channelCredentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

import { type Backoff, DEFAULT_BACKOFF, pauseMs, sleep } from "./backoff.js";
import { fromServiceError, RecstreamError } from "./errors.js";
import type { Recommendations } from "./frames.js";
import { type DeepPartial, Interaction } from "./gen/recstream/v1/interaction.pb.js";
import { InteractionServiceClient, type RecordResponse } from "./gen/recstream/v1/interaction_service.pb.js";
import {
  RankRequest,
  type RankResponse,
  RecommendationServiceClient,
  RecommendRequest,
  type RecommendResponse,
  StreamRecommendationsRequest,
} from "./gen/recstream/v1/recommendation_service.pb.js";
import { lists } from "./stream.js";

/** How a client is set up. */
export interface Options {
  /** For TLS: `credentials.createSsl()` of @grpc/grpc-js. Default: plain text. */
  credentials?: ChannelCredentials;
  /** Sent with every call. A function is called for each call. */
  metadata?: Record<string, string> | (() => Record<string, string>);
  /** Milliseconds that a call may take, including its retries. Default: 5,000. */
  timeoutMs?: number;
  /** Most retries of a call while the server is unavailable. Default: 4. */
  retries?: number;
  backoff?: Backoff;
  /** Milliseconds without even a heartbeat after which a stream is opened again. Default: 90,000. */
  idleTimeoutMs?: number;
  /** Channel options, on top of the client's own. */
  channel?: Partial<ClientOptions>;
}

/** The fields of a request for a list. All but `userId` are optional. */
export type RecommendFields = Partial<RecommendRequest> & Pick<RecommendRequest, "userId">;
/** The fields of a request for an order of items. All but `userId` and `itemIds` are optional. */
export type RankFields = Partial<RankRequest> & Pick<RankRequest, "userId" | "itemIds">;
export type StreamFields = Partial<Omit<StreamRecommendationsRequest, "resumeToken">> &
  Pick<StreamRecommendationsRequest, "userId">;
/**
 * An event: an action on an item, or what `undo` or `impression` says. Its id and time are filled in if they are
 * missing.
 */
export type EventFields = DeepPartial<Interaction> & Pick<Interaction, "userId">;

export interface StreamOptions {
  /** The last list of an earlier stream with the same fields. */
  resume?: Recommendations;
  /** Ends the stream, without an error. */
  signal?: AbortSignal;
  /** Called before each pause, with the error that broke the stream and the pause in milliseconds. */
  onRetry?: (error: RecstreamError, delayMs: number) => void;
}

type Method<Q, A> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: A) => void,
) => ClientUnaryCall;

const CHANNEL: Partial<ClientOptions> = {
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 3_000,
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
};

/**
 * A client of recstream.
 *
 *     const client = new Client("localhost:50051");
 *     for await (const films of client.stream({ userId: "ann", count: 10 })) {
 *       console.log(films.items.map((film) => film.itemId));
 *     }
 */
export class Client {
  private readonly recommendations: RecommendationServiceClient;
  private readonly interactions: InteractionServiceClient;
  private readonly backoff: Backoff;

  constructor(
    target: string,
    private readonly options: Options = {},
  ) {
    const credentials = options.credentials ?? channelCredentials.createInsecure();
    const channel = { ...CHANNEL, ...options.channel };
    this.backoff = options.backoff ?? DEFAULT_BACKOFF;
    this.recommendations = new RecommendationServiceClient(target, credentials, channel);
    this.interactions = new InteractionServiceClient(target, credentials, channel);
  }

  /** Returns one list. */
  async recommend(fields: RecommendFields, timeoutMs?: number): Promise<RecommendResponse> {
    const method: Method<RecommendRequest, RecommendResponse> = (...call) => this.recommendations.recommend(...call);
    return this.call(method, RecommendRequest.fromPartial(fields), timeoutMs);
  }

  /** Orders items that you name, such as search results. `unknownItemIds` names those that the catalogue does not know. */
  async rank(fields: RankFields, timeoutMs?: number): Promise<RankResponse> {
    const method: Method<RankRequest, RankResponse> = (...call) => this.recommendations.rank(...call);
    return this.call(method, RankRequest.fromPartial(fields), timeoutMs);
  }

  /**
   * Records an event. Resolves when Kafka has it, with a token for `after` of calls for the same user. A repeat is safe,
   * because the event has an id.
   */
  async record(fields: EventFields, timeoutMs?: number): Promise<string> {
    const event: EventFields = { eventId: randomUUID(), eventTime: new Date(), ...fields };
    const answer = await this.call<{ interaction?: Interaction | undefined }, RecordResponse>(
      (...call) => this.interactions.record(...call),
      { interaction: Interaction.fromPartial(event) },
      timeoutMs,
    );
    if (!answer.token) throw new RecstreamError("the server answered an event without a token", 13);
    return answer.token;
  }

  /**
   * Opens a stream of whole lists, for as long as you iterate. A broken stream is opened again. Leaving the loop
   * cancels the call.
   */
  stream(fields: StreamFields, options: StreamOptions = {}): AsyncGenerator<Recommendations, void, undefined> {
    const request = StreamRecommendationsRequest.fromPartial(fields);
    return lists(
      (resumeToken, answered) => {
        // The first frame has answered for them. The stream must not wait for them again after a break.
        const awaited = answered ? { after: [], afterEventIds: [] } : {};
        return this.recommendations.streamRecommendations({ ...request, ...awaited, resumeToken }, this.metadata());
      },
      { ...options, backoff: this.backoff, idleTimeoutMs: this.options.idleTimeoutMs ?? 90_000 },
    );
  }

  /** Closes the channel. */
  close(): void {
    this.recommendations.close();
    this.interactions.close();
  }

  private async call<Q, A>(method: Method<Q, A>, request: Q, timeoutMs?: number): Promise<A> {
    const deadline = Date.now() + (timeoutMs ?? this.options.timeoutMs ?? 5_000);
    const retries = this.options.retries ?? 4;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await new Promise<A>((resolve, reject) => {
          method(request, this.metadata(), { deadline }, (error, answer) => {
            if (error) reject(fromServiceError(error));
            else resolve(answer);
          });
        });
      } catch (error) {
        if (!(error instanceof RecstreamError) || !error.retryable || attempt >= retries) throw error;
        const pause = pauseMs(this.backoff, attempt, error.retryAfterMs);
        if (Date.now() + pause >= deadline) throw error;
        await sleep(pause);
      }
    }
  }

  private metadata(): Metadata {
    const { metadata } = this.options;
    const result = new Metadata();
    for (const [key, value] of Object.entries(typeof metadata === "function" ? metadata() : (metadata ?? {}))) {
      result.set(key, value);
    }
    return result;
  }
}
