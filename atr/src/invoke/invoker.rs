//! The host of a pipeline.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use agent_primitives::{AgentId, IdSource, Resource, SystemIds, Timer};

use super::access::{Nobody, Permissive};
use super::breaker::Breakers;
use super::quota::Ledger;
use super::{
    Answer, Approvals, AuditSink, Authorizer, Call, CallChain, Metrics, OnBehalf, Quotas, Retry, Secrets,
    Trace,
};
use crate::{Registry, ToolError};

/// Most calls of one principal at once unless said.
const AT_ONCE: usize = 8;

/// What happens to a result whose call could not be put on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// It is withheld: [`ToolError::AuditFailed`].
    #[default]
    Withhold,
    /// It is handed on.
    HandOn,
}

/// Makes calls, each through the same [stages](super::Stage). Cloning is a reference count.
#[derive(Clone)]
pub struct Invoker(pub(super) Arc<Host>);

pub(super) struct Host {
    pub(super) registry: Registry,
    pub(super) timer: Arc<dyn Timer>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) approvals: Option<Approvals>,
    pub(super) secrets: Option<Arc<dyn Secrets>>,
    pub(super) audit: Arc<dyn AuditSink>,
    pub(super) on_audit_failure: OnAuditFailure,
    pub(super) trace: Option<Arc<dyn Trace>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) breakers: Arc<Breakers>,
    pub(super) metrics: Metrics,
    pub(super) retry: Retry,
}

impl Invoker {
    /// Calls of these tools, on this clock, put on record there. Without an authorizer every call is denied.
    #[must_use]
    pub fn builder(
        registry: Registry,
        timer: Arc<dyn Timer>,
        audit: impl AuditSink + 'static,
    ) -> InvokerBuilder {
        InvokerBuilder {
            registry,
            timer,
            audit: Arc::new(audit),
            ids: Arc::new(SystemIds),
            authorizer: Arc::new(Nobody),
            quotas: Quotas::none(),
            at_once: AT_ONCE,
            approvals: None,
            secrets: None,
            on_audit_failure: OnAuditFailure::Withhold,
            trace: None,
            retry: Retry::default(),
        }
    }

    /// Allows every call of everybody; every audit record says `permissive`.
    #[must_use]
    pub fn permissive(registry: Registry, timer: Arc<dyn Timer>, audit: impl AuditSink + 'static) -> Self {
        let mut builder = Self::builder(registry, timer, audit);
        builder.authorizer = Arc::new(Permissive);
        builder.build()
    }

    /// Makes one call: the name of a tool, and its arguments as JSON text.
    ///
    /// # Errors
    /// Any [`ToolError`]; [`ToolError::is_without_effect`] says whether the tool may have run.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call, as for [`Invocation::run`](crate::Invocation::run), and it is put on record.
    pub fn invoke(
        &self,
        chain: impl Into<CallChain>,
        tool: &str,
        arguments: &[u8],
    ) -> impl Future<Output = Result<Answer, ToolError>> + Send + 'static {
        let (caller, call) = (self.on_behalf_of(chain), Call::new(tool, arguments));
        async move { caller.send(call).await }
    }

    /// Makes calls for these principals.
    #[must_use]
    pub fn on_behalf_of(&self, chain: impl Into<CallChain>) -> OnBehalf {
        OnBehalf::of(self.clone(), chain.into())
    }

    /// What is counted of calls.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The tools.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What a principal has been charged of a budget so far.
    #[must_use]
    pub fn charged(&self, principal: &AgentId, resource: Resource) -> u64 {
        self.0.ledger.charged(principal, resource)
    }
}

impl fmt::Debug for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoker").field("authorizer", &self.0.authorizer).finish_non_exhaustive()
    }
}

/// An [`Invoker`] that is being set up.
#[derive(Debug)]
#[must_use = "nothing can be called before `build`"]
pub struct InvokerBuilder {
    registry: Registry,
    timer: Arc<dyn Timer>,
    audit: Arc<dyn AuditSink>,
    ids: Arc<dyn IdSource>,
    authorizer: Arc<dyn Authorizer>,
    quotas: Quotas,
    at_once: usize,
    approvals: Option<Approvals>,
    secrets: Option<Arc<dyn Secrets>>,
    on_audit_failure: OnAuditFailure,
    trace: Option<Arc<dyn Trace>>,
    retry: Retry,
}

impl InvokerBuilder {
    /// What decides on calls.
    pub fn authorizer(mut self, authorizer: impl Authorizer + 'static) -> Self {
        self.authorizer = Arc::new(authorizer);
        self
    }

    /// How often, and how much. No limit unless said.
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// How many calls of one principal may be under way at once, those within others included; 8 unless said.
    pub fn at_once(mut self, calls: usize) -> Self {
        self.at_once = calls;
        self
    }

    /// Where consent is asked for. Without it, a call that needs any is refused.
    pub fn approvals(mut self, approvals: Approvals) -> Self {
        self.approvals = Some(approvals);
        self
    }

    /// Where secrets come from. Without it, a tool that needs any is not run.
    pub fn secrets(mut self, secrets: impl Secrets + 'static) -> Self {
        self.secrets = Some(Arc::new(secrets));
        self
    }

    /// What happens to results of calls that could not be put on record. They are withheld unless said.
    pub fn on_audit_failure(mut self, then: OnAuditFailure) -> Self {
        self.on_audit_failure = then;
        self
    }

    /// Who is told of every stage.
    pub fn trace(mut self, trace: impl Trace + 'static) -> Self {
        self.trace = Some(Arc::new(trace));
        self
    }

    /// When calls of idempotent tools are made again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Where ids and the spread of waits come from. The operating system unless said.
    pub fn ids(mut self, ids: impl IdSource + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Ready to call.
    #[must_use]
    pub fn build(self) -> Invoker {
        Invoker(Arc::new(Host {
            registry: self.registry,
            timer: self.timer,
            ids: self.ids,
            authorizer: self.authorizer,
            approvals: self.approvals,
            secrets: self.secrets,
            audit: self.audit,
            on_audit_failure: self.on_audit_failure,
            trace: self.trace,
            ledger: Arc::new(Ledger::new(self.quotas, self.at_once)),
            breakers: Arc::default(),
            metrics: Metrics::default(),
            retry: self.retry,
        }))
    }
}
