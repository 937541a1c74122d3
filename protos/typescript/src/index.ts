export { type Backoff } from "./backoff.js";
export {
  Client,
  type EventFields,
  type Options,
  type RankFields,
  type RecommendFields,
  type StreamFields,
  type StreamOptions,
} from "./client.js";
export { type FieldViolation, RecstreamError } from "./errors.js";
export { applyDelta, type Recommendations } from "./frames.js";
export { type Filter, type FilterList, type ItemIds, type RangeFilter, type TextFilter } from "./gen/recstream/v1/filter.pb.js";
export { type Cause } from "./gen/recstream/v1/frame.pb.js";
export { type Interaction, type SlateImpression, type Undo } from "./gen/recstream/v1/interaction.pb.js";
export { type RecordResult } from "./gen/recstream/v1/interaction_service.pb.js";
export { type RankResponse, type RecommendResponse } from "./gen/recstream/v1/recommendation_service.pb.js";
export {
  type Boost,
  type Cap,
  type ListRules,
  type Pin,
  type Promotion,
  type Rotation,
  type TimeWindow,
} from "./gen/recstream/v1/rules.pb.js";
export { type Item } from "./gen/recstream/v1/item.pb.js";
export { type ListView, type RankedItem, type Slate, Tier } from "./gen/recstream/v1/slate.pb.js";
