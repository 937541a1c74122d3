"""Ready-made mappings, for the events of well-known producers. Settings name them, and may change their parts.

They map what recstream computes with, and no more: a price without a currency must not cost an event. Actions are those
of the default settings. Names that are not translated, such as `Products Searched`, stay as they are, and pass as
unknown actions.
"""

from typing import Any, Final

# Products lie in a list, or the only one in `properties` itself (https://segment.com/docs/connections/spec/ecommerce/v2).
# RudderStack's records have the same form (https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec).
_SEGMENT: Final[dict[str, Any]] = {
    "when": "messageId && contains(['track', 'page', 'screen', 'identify', 'group', 'alias'], type)",
    "each": "properties.products || [properties]",
    "fields": {
        "eventId": "messageId",
        "userId": "userId || anonymousId",
        "itemId": "each.product_id || each.productId || each.sku",
        "action": "event || type",
        "eventTime": "timestamp || originalTimestamp",
    },
    "actions": {
        "Product Viewed": "view",
        "Product Clicked": "click",
        "Product Added": "cart",
        "Product Added to Wishlist": "save",
        "Order Completed": "purchase",
    },
}

# A row of the BigQuery export (https://support.google.com/analytics/answer/7029846) or a request of the Measurement
# Protocol with one event (https://developers.google.com/analytics/devguides/collection/protocol/ga4). Rows have no id:
# the fields that tell them apart make one. Numbers of 64 bits are texts in exported JSON. An item without an id has the
# id `(not set)`.
_GA4: Final[dict[str, Any]] = {
    "when": "(event_name && event_timestamp) || (client_id && length(events || `[]`) == `1`)",
    "each": "(items || events[0].params.items)[?item_id && item_id != '(not set)']",
    "fields": {
        "eventId": "user_pseudo_id && join('-', [to_string(user_pseudo_id), to_string(event_timestamp), event_name, "
        "to_string(batch_page_id), to_string(batch_ordering_id), to_string(batch_event_index)])",
        "userId": "user_id || user_pseudo_id || client_id",
        "itemId": "each.item_id",
        "action": "event_name || events[0].name",
        "eventTime": "from_microseconds(event_timestamp || timestamp_micros)",
    },
    "actions": {
        "view_item": "view",
        "select_item": "click",
        "add_to_cart": "cart",
        "add_to_wishlist": "save",
        "purchase": "purchase",
    },
}

# An enriched event as the analytics SDKs write it in JSON, with the schemas of Snowplow's ecommerce plug-in
# (https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events).
_SNOWPLOW: Final[dict[str, Any]] = {
    "when": "event_id && collector_tstamp",
    "each": "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1",
    "fields": {
        "eventId": "event_id",
        "userId": "user_id || domain_userid",
        "itemId": "each.id",
        "action": "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1.type "
        "|| event_name || event",
        "eventTime": "derived_tstamp || collector_tstamp",
    },
    "actions": {
        "product_view": "view",
        "list_click": "click",
        "add_to_cart": "cart",
        "transaction": "purchase",
    },
}

READY: Final[dict[str, dict[str, Any]]] = {
    "segment": _SEGMENT,
    "rudderstack": _SEGMENT,
    "ga4": _GA4,
    "snowplow": _SNOWPLOW,
}
"""The mappings by name, in the form of the settings, without the name."""
