//! The spans as OpenTelemetry's. Behind the feature `otel`.
//!
//! Types of other crates stand in the signatures here, and nowhere else in this library: a layer is of no use without them.
//! They are those of `opentelemetry` 0.33, `tracing` 0.1 and `tracing-subscriber` 0.3, and this module follows their breaks.
//! There is no exporter here; the host makes a tracer and decides where its spans go.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer,
};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::TraceParent;

/// A layer that makes an OpenTelemetry span of each span, those of the host included, under the names that the contract of
/// [`super`] has for it.
pub fn layer<S, T>(tracer: T) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
}

/// Puts `span` below the caller's span that a `traceparent` names, which came with a request. `false` when that is too late,
/// because the span has been entered, or when no [`layer`] is in use.
#[must_use = "a span without its parent begins a trace of its own"]
pub fn continue_from(span: &Span, parent: &TraceParent) -> bool {
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, caller) = (TraceId::from_bytes(parent.trace_id()), SpanId::from_bytes(parent.span_id()));
    let remote = SpanContext::new(trace, caller, flags, true, TraceState::NONE);
    span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote)).is_ok()
}

/// What to send with a request that is made in `span`. `None` when no [`layer`] is in use.
#[must_use]
pub fn traceparent(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let current = context.span();
    let here = current.span_context();
    TraceParent::new(here.trace_id().to_bytes(), here.span_id().to_bytes(), here.is_sampled()).ok()
}
